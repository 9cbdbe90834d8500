//! Turns: tests that look at how long something takes run where it is quiet, two at a time, all others side by side.
//!
//! Two wait for their lines more than they compute. Whoever waits for quiet goes before those who come later. A thread that has a turn gets further ones at once, so a test may start
//! several clusters.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Tests at once, where it is quiet.
const QUIET: usize = 2;

#[derive(Default)]
struct State {
    together: usize,
    quiet: usize,
    waiting_for_quiet: usize,
}

static STATE: Mutex<State> = Mutex::new(State { together: 0, quiet: 0, waiting_for_quiet: 0 });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static TURNS: Cell<usize> = const { Cell::new(0) };
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Quiet,
    Together,
    /// Another turn of the same thread counts.
    Within,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Waits until none but another that wants quiet has a turn, or until none such has or waits for one.
    pub(super) fn take(quiet: bool) -> Self {
        let before = TURNS.with(|turns| turns.replace(turns.get() + 1));
        if before > 0 {
            return Self { kind: Kind::Within };
        }
        let mut state = state();
        if quiet {
            state.waiting_for_quiet += 1;
            while state.quiet == QUIET || state.together > 0 {
                state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting_for_quiet -= 1;
            state.quiet += 1;
            return Self { kind: Kind::Quiet };
        }
        while state.quiet > 0 || state.waiting_for_quiet > 0 {
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.together += 1;
        Self { kind: Kind::Together }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.with(|turns| turns.set(turns.get().saturating_sub(1)));
        let mut state = state();
        match self.kind {
            Kind::Quiet => state.quiet -= 1,
            Kind::Together => state.together -= 1,
            Kind::Within => return,
        }
        CHANGED.notify_all();
    }
}
