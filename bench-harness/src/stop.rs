//! Ending early: the first SIGINT or SIGTERM ends what runs, and what was found so far is kept; the second ends the program.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Ends one load early when it is set, or when the whole program is told to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

static TOLD: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// As a shell says it: 128 and the signal's number.
const EXIT_CODE_BASE: i32 = 128;

impl Stop {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) || was_told()
    }
}

/// Whether the program was told to stop.
pub(crate) fn was_told() -> bool {
    TOLD.get().is_some_and(|told| told.load(Ordering::Relaxed))
}

/// For commands that ask [`was_told`], or hand a [`Stop`] on, at least once a second.
pub(crate) fn listen() -> io::Result<()> {
    let told = TOLD.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // Order: the one that ends the program looks before the other one sets what it looks at.
        flag::register_conditional_shutdown(signal, EXIT_CODE_BASE + signal, Arc::clone(told))?;
        flag::register(signal, Arc::clone(told))?;
    }
    Ok(())
}
