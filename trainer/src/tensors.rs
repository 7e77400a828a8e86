//! The names of an exported graph's inputs and outputs. Columns of a dataset
//! cannot have them.

/// The input of all numeric features, if there are too many features.
pub(crate) const NUMBERS: &str = "numbers";
/// The output of a regression model.
pub(crate) const VALUE: &str = "value";
/// The output with the predicted class.
pub(crate) const LABEL: &str = "label";
/// The output with a probability for each class.
pub(crate) const PROBABILITIES: &str = "probabilities";

/// Whether a column cannot have a name as a feature: it is empty, or a tensor has it.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.is_empty() || [VALUE, LABEL, PROBABILITIES, NUMBERS].contains(&name)
}
