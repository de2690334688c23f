#[allow(dead_code, reason = "the server that is configured by this follows")]
mod config;

fn main() {}
