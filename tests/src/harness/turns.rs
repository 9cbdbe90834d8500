//! Turns: tests that look at how long something takes run alone, all others side by side.
//!
//! Whoever waits to be alone goes before those who come later. A thread that has a turn gets further ones at once, so a test may start
//! several clusters.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    together: usize,
    alone: bool,
    waiting_alone: usize,
}

static STATE: Mutex<State> = Mutex::new(State { together: 0, alone: false, waiting_alone: 0 });
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
    Alone,
    Together,
    /// Another turn of the same thread counts.
    Within,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Waits until nobody has a turn, or until nobody is alone.
    pub(super) fn take(alone: bool) -> Self {
        let before = TURNS.with(|turns| turns.replace(turns.get() + 1));
        if before > 0 {
            return Self { kind: Kind::Within };
        }
        let mut state = state();
        if alone {
            state.waiting_alone += 1;
            while state.alone || state.together > 0 {
                state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting_alone -= 1;
            state.alone = true;
            return Self { kind: Kind::Alone };
        }
        while state.alone || state.waiting_alone > 0 {
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
            Kind::Alone => state.alone = false,
            Kind::Together => state.together -= 1,
            Kind::Within => return,
        }
        CHANGED.notify_all();
    }
}
