//! The tool from its command line to its exit status, against servers honest and faulty.

mod channels;
mod commands;
mod common;
mod faults;
mod scenarios;
mod sealed;
mod streams;
