//! When a scheduler is asked how its blocks fare (F42): the one thing with a period, and only while a block waits or one
//! is left without a word.

use super::Action;
use crate::limits;
use crate::time::Mono;

/// The next question.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    next: Mono,
    wait_ms: u64,
    /// Asked and not answered.
    open: bool,
    /// Why the scheduler does not answer.
    trouble: Option<String>,
}

impl Inquiry {
    /// Something happened of which the scheduler may know more.
    pub(super) fn soon(&mut self, now: Mono) {
        self.wait_ms = limits::ASK_MS.0;
        self.next = self.next.min(now.after(self.wait_ms));
    }

    /// Asks, if there is something to know and the pause after the last question is over.
    pub(super) fn ask(&mut self, now: Mono, needed: bool, out: &mut Vec<Action>) {
        if needed && !self.open && now >= self.next {
            self.open = true;
            out.push(Action::AskProvider);
        }
    }

    /// It answered, or could not. True if that changes what people are told.
    pub(super) fn answered(&mut self, now: Mono, trouble: Option<String>) -> bool {
        self.open = false;
        self.next = now.after(self.wait_ms);
        self.wait_ms = (self.wait_ms * 2).clamp(limits::ASK_MS.0, limits::ASK_MS.1);
        let news = self.trouble != trouble;
        self.trouble = trouble;
        news
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// When the next question is due, if there is `need` of one.
    pub(super) fn due(&self, needed: bool) -> Option<Mono> {
        (needed && !self.open).then_some(self.next)
    }
}
