//! `headstart` against the real daemon: what a person needs is on the screen, and `--json` has it for programs.

mod alone;
mod answer;
mod files;
mod screen;
