//! The name that was probably meant.

/// Names less alike than this are not offered.
const LEAST_LIKENESS: f64 = 0.5;

/// The candidate nearest to `name`, if any is near: by all of the dotted key, or by its last part, so that a key in
/// the wrong section is found too.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

fn likeness(name: &str, candidate: &str) -> f64 {
    let (name, candidate) = (name.to_lowercase().replace('-', "_"), candidate.replace('-', "_"));
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::normalized_damerau_levenshtein(&name, &candidate);
    // A little less than the whole key's, so that of two equally named keys the one of the same section wins.
    let end = strsim::normalized_damerau_levenshtein(&last(&name), &last(&candidate)) * 0.9;
    whole.max(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found() {
        let keys = ["output", "journal.socket", "metrics.address", "watch.homes", "watch.paths.path"];
        for (name, meant) in [
            ("outptu", Some("output")),
            ("journal.sokket", Some("journal.socket")),
            ("address", Some("metrics.address")),
            ("watch.hoems", Some("watch.homes")),
            ("Output", Some("output")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(name, keys), meant, "{name}");
        }
    }
}
