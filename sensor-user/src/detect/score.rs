//! From a rule's severity and the reasons beside it to a score, and back to a severity.

use super::rule::Severity;

/// A part of a score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Added to the score; may be negative.
    pub points: i8,
    /// Why, in a few words.
    pub text: String,
}

/// Points of a rule by its severity: the middle of the severity's range.
pub fn base(severity: Severity) -> i8 {
    match severity {
        Severity::Info => 10,
        Severity::Low => 30,
        Severity::Medium => 50,
        Severity::High => 70,
        Severity::Critical => 90,
    }
}

/// The severity of a score.
pub fn severity(score: u8) -> Severity {
    match score {
        0..20 => Severity::Info,
        20..40 => Severity::Low,
        40..60 => Severity::Medium,
        60..80 => Severity::High,
        _ => Severity::Critical,
    }
}

/// The sum of the reasons, within 0 to 100.
pub fn sum(reasons: &[Reason]) -> u8 {
    let sum: i32 = reasons.iter().map(|reason| i32::from(reason.points)).sum();
    u8::try_from(sum.clamp(0, 100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_alone_has_its_own_severity() {
        for severity_of_rule in
            [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
        {
            let alone = [Reason { points: base(severity_of_rule), text: String::new() }];
            assert_eq!(severity(sum(&alone)), severity_of_rule);
        }
    }

    #[test]
    fn sums_stay_in_range() {
        let reason = |points| Reason { points, text: String::new() };
        assert_eq!(sum(&[reason(90), reason(50)]), 100);
        assert_eq!(sum(&[reason(10), reason(-50)]), 0);
        assert_eq!(sum(&vec![reason(127); 10]), 100);
        assert_eq!(sum(&[]), 0);
    }
}
