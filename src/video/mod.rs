//! Coded frames on their way to the application. Nothing here knows a codec.
pub(crate) mod inbox;
pub(crate) mod wish;
