//! The specifications of the demonstration.

use super::MODEL;

/// Returns the specification of the first version, which is trained on a file.
pub(super) fn first() -> String {
    specification("[data.sources]\nhistory = \"history.csv\"\n", "", "")
}

/// Returns the specification of later versions, which are trained on captured predictions
/// whose label is known.
pub(super) fn next() -> String {
    let query = "SELECT \\\"time\\\", amount, hour, age, country, truth AS fraud FROM seen";
    specification(
        &format!(
            "[data]\nsql = \"{query}\"\nrows_min = 500\n\n[data.sources]\nseen = \"capture:{MODEL}?days=1\"\n"
        ),
        // By time, the rows that stop and judge the training would be all rows after the change
        // when the alarm comes early, and the new version would learn nothing of it.
        "[split]\nby = \"random\"\noverride_reason = \"all rows after the change are among the newest\"\n\n\
         [gates]\nregression_max = 0.0\n",
        "[triggers]\ndrift = true\nloss = true\ncooldown = \"3s\"\npoll = \"300ms\"\nruns_max = 40\n",
    )
}

fn specification(sources: &str, gates: &str, triggers: &str) -> String {
    format!(
        "[model]\nname = \"{MODEL}\"\nabout = \"Whether a payment turns out to be fraud.\"\n\n{sources}\n\
         [schema]\ntarget = \"fraud\"\ntime = \"time\"\n\n[fit.trees]\nrounds_max = 60\nleaves_max = 15\n\n\
         {gates}\n[publish]\npolicy = \"champion\"\n\n{triggers}"
    )
}
