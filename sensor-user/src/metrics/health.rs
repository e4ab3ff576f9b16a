//! Whether the sensor lives, and whether it watches.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What /livez and /readyz answer. The main loop tells it.
#[derive(Debug)]
pub struct Health {
    begin: Instant,
    /// Milliseconds from `begin` to the last beat.
    beat: AtomicU64,
    longest_silence: Duration,
    missing: Mutex<Vec<String>>,
}

impl Health {
    /// Alive, and not ready: `starting` is missing. Without a beat for `longest_silence` it is dead.
    #[must_use]
    pub fn new(longest_silence: Duration) -> Self {
        Self {
            begin: Instant::now(),
            beat: AtomicU64::new(0),
            longest_silence,
            missing: Mutex::new(vec!["starting".to_owned()]),
        }
    }

    /// The main loop moves.
    pub fn beat(&self) {
        self.beat.store(self.begin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// What keeps the sensor from being ready, like `hook inode_rename` or `process table`. Nothing: it is ready.
    pub fn set_missing(&self, missing: Vec<String>) {
        *self.missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = missing;
    }

    /// # Errors
    /// Where the main loop has not moved for too long: for how long.
    pub fn live(&self) -> Result<(), String> {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        let silence = self.begin.elapsed().saturating_sub(beat);
        if silence <= self.longest_silence {
            return Ok(());
        }
        Err(format!("the main loop has not moved for {} s\n", silence.as_secs()))
    }

    /// # Errors
    /// What is missing, one a line.
    pub fn ready(&self) -> Result<(), String> {
        let missing = self.missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if missing.is_empty() {
            return Ok(());
        }
        let mut text = String::from("missing:\n");
        for item in missing.iter() {
            let _ = writeln!(text, "{item}");
        }
        Err(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_death_and_a_beat_revives() {
        let health = Health::new(Duration::from_millis(20));
        assert_eq!(health.live(), Ok(()));
        std::thread::sleep(Duration::from_millis(40));
        assert!(health.live().unwrap_err().contains("has not moved"));
        health.beat();
        assert_eq!(health.live(), Ok(()));
    }

    #[test]
    fn it_is_ready_when_nothing_is_missing() {
        let health = Health::new(Duration::from_secs(1));
        assert_eq!(health.ready(), Err("missing:\nstarting\n".to_owned()));
        health.set_missing(vec!["hook inode_rename".to_owned(), "process table".to_owned()]);
        assert_eq!(health.ready(), Err("missing:\nhook inode_rename\nprocess table\n".to_owned()));
        health.set_missing(Vec::new());
        assert_eq!(health.ready(), Ok(()));
    }
}
