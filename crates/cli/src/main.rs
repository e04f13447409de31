//! The `bursa` command: service, endpoint and client in one binary.
//!
//! Parses, dispatches, prints, and turns the outcome into an exit code. Everything else is in the crates below.

#[macro_use]
mod output;
mod args;
mod client;
mod commands;
mod exit;
mod login;
mod pin;
mod settings;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let json = args.json;
    match commands::dispatch(args) {
        Ok(code) => code,
        Err(error) => {
            output::print_error(json, &error);
            exit::code_of(&error)
        }
    }
}
