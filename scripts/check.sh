#!/usr/bin/env bash
# What CI runs, and everybody before a commit: formatting, clippy with warnings denied, all tests.
# `scripts/check.sh quick` leaves the tests out.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo clippy --locked --workspace --all-targets --all-features --release -- --deny warnings
if [ "${1:-}" != quick ]; then
  # The README's test command, word for word.
  cargo test --release --workspace
fi
