//! One suite that every driver passes.

#![forbid(unsafe_code)]
