//! How a command fails: what, why, what next, and of which kind, which picks the exit code.

use node::api::Refusal;
use node::client::ClientError;
use std::fmt::Display;

/// The kinds of failure, each with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It failed.
    Failed,
    /// The arguments or the configuration make no sense.
    Usage,
    /// Refused, or in conflict with what others do.
    Refused,
    /// Nobody answers.
    Unreachable,
    /// Some nodes failed, the others went on.
    Partial,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Partial => 5,
            Self::Interrupted => 130,
        }
    }
}

/// A failure, in words for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Of which kind.
    pub(crate) kind: Kind,
    /// What did not happen.
    pub(crate) what: String,
    /// Why, as far as it is known.
    pub(crate) why: Option<String>,
    /// What to do next, often a command.
    pub(crate) next: Option<String>,
}

impl Failure {
    /// What failed, and how.
    pub(crate) fn new(kind: Kind, what: impl Display) -> Self {
        Self { kind, what: what.to_string(), why: None, next: None }
    }

    /// With the reason.
    pub(crate) fn because(self, why: impl Display) -> Self {
        Self { why: Some(why.to_string()), ..self }
    }

    /// With the next command or step.
    pub(crate) fn next(self, next: impl Display) -> Self {
        Self { next: Some(next.to_string()), ..self }
    }

    /// With a sentence of the kind `why; what to do`, as the node's errors are.
    pub(crate) fn because_and_next(self, sentence: impl Display) -> Self {
        let sentence = sentence.to_string();
        match sentence.rsplit_once("; ") {
            Some((why, next)) => self.because(why).next(next),
            None => self.because(sentence),
        }
    }

    /// A request to an origin failed; `what` did not happen.
    pub(crate) fn asking(what: impl Display, error: &ClientError) -> Self {
        let failure = |kind| Self::new(kind, &what);
        match error {
            ClientError::Home(_) => failure(Kind::Failed).because(error).next(
                "run this as the person and on the machine that ran `tiding up`, or say where the operator's keys are \
                 with --operator-home",
            ),
            ClientError::Unreachable(_) => failure(Kind::Unreachable).because_and_next(error),
            ClientError::Refused(refusal) => Self::refused(what, refusal),
            ClientError::Protocol(_) => failure(Kind::Failed)
                .because(error)
                .next("check that both sides run the same version: tiding --version"),
        }
    }

    /// An origin refused; `what` did not happen.
    pub(crate) fn refused(what: impl Display, refusal: &Refusal) -> Self {
        let kind = match refusal {
            Refusal::Failed { .. } => Kind::Failed,
            Refusal::Invalid { .. } => Kind::Usage,
            _ => Kind::Refused,
        };
        let failure = Self::new(kind, what).because(refusal);
        match refusal {
            Refusal::Conflict { .. } => {
                failure.next("see `tiding status`, wait until it is done, and give yours again")
            }
            Refusal::Unknown { .. } => failure.next("`tiding status` lists what there is"),
            Refusal::Failed { .. } => failure.next("try again; the origin's log says more"),
            Refusal::NotBelieved { .. } => failure.next("check whose keys these are: --operator-home"),
            Refusal::NotAllowed { .. } => {
                failure.next("`tiding operator list` shows who may do what; say whose keys to use with --operator-home")
            }
            Refusal::Invalid { .. } => failure.because_and_next(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_of_a_node_is_taken_apart() {
        let failure = Failure::new(Kind::Failed, "it").because_and_next("no origin answers: x; check that it runs");
        assert_eq!(failure.why.as_deref(), Some("no origin answers: x"));
        assert_eq!(failure.next.as_deref(), Some("check that it runs"));
    }

    #[test]
    fn a_conflict_has_the_exit_code_of_a_refusal_and_a_failure_there_has_not() {
        let conflict = Refusal::Conflict { epoch: 3, by: "alice".into(), what: "a deploy is under way".into() };
        assert_eq!(Failure::refused("it", &conflict).kind.code(), 3);
        assert_eq!(Failure::refused("it", &Refusal::Failed { why: "x".into() }).kind.code(), 1);
        let senseless = Failure::refused("it", &Refusal::Invalid { why: "no use; give one".into() });
        assert_eq!((senseless.kind.code(), senseless.next.as_deref()), (2, Some("give one")));
    }
}
