//! Boxed: a future whose code stays in the crate that wrote it.
//!
//! The compiler makes an async function's code anew in every crate that awaits it, with all that it awaits in turn: a program that called
//! `serve().await` had the whole server compiled once more. Where one crate calls another, the future is boxed: one allocation a call, and the
//! code is made once.

use std::pin::Pin;

/// A future that was made elsewhere.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
