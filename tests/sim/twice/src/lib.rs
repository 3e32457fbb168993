//! `#[test]` as the tests of the simulator have it: the body goes through `smallrtc_sim::twice`,
//! which runs it a second time in the same process when the environment asks for it.
//!
//! A program of tests begins with `#[macro_use] extern crate smallrtc_sim_twice;`, and from there
//! on every `#[test]` of it, in whatever module, is this one. It never changes what a test is
//! called, expects or prints.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// The standard attribute, around a body that may run twice.
#[proc_macro_attribute]
pub fn test(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    if let Some(TokenTree::Group(body)) = tokens.last_mut()
        && body.delimiter() == Delimiter::Brace
    {
        *body = around(body);
    }
    let attribute: TokenStream = "#[::core::prelude::v1::test]".parse().expect("an attribute");
    attribute.into_iter().chain(tokens).collect()
}

/// `{ smallrtc_sim::twice(|| { body }) }`, in the place of the body for whoever reads an error.
fn around(body: &Group) -> Group {
    let mut call: TokenStream = "::smallrtc_sim::twice".parse().expect("a path");
    let closure: TokenStream = "||".parse().expect("an empty list");
    let inner = closure.into_iter().chain([TokenTree::Group(body.clone())]).collect();
    call.extend([TokenTree::Group(Group::new(Delimiter::Parenthesis, inner))]);
    let mut around = Group::new(Delimiter::Brace, call);
    around.set_span(body.span());
    around
}
