//! Decides the columns of a version, and what the settings let each of them store.

use super::{CapturedColumn, ColumnForm, Keep, OWN, Sheet, Spread};
use crate::core::error::{Error, Result, short};
use crate::core::model::{Dim, TensorSpec};
use crate::core::tensor::elements;
use crate::observe::capture::settings::CaptureSettings;
use crate::observe::drift::layout::{ColumnPlace, RowPart, Side, WIDE};
use crate::observe::drift::watch::WatchSubject;
use std::collections::BTreeSet;

impl Sheet {
    /// Arranges the columns of a version. Refuses a rule of the settings that names this model and
    /// none of its columns: a misspelt rule would store what it should leave out.
    pub(crate) fn new(subject: &WatchSubject, settings: &CaptureSettings) -> Result<Self> {
        let mut arranger = Arranger {
            subject,
            settings,
            places: subject.find_columns()?,
            taken: OWN.map(str::to_owned).into(),
        };
        let signature = &subject.signature;
        let inputs = arranger.side(Side::Input, &signature.inputs);
        let outputs = arranger.side(Side::Output, &signature.outputs);
        let optional = signature.listed_optional();
        let optional = optional.map(|spec| arranger.optional(spec)).collect();

        let sheet = Self {
            tensors: [inputs, outputs, optional].concat(),
        };
        arranger.check_rules(&sheet)?;
        Ok(sheet)
    }
}

/// Arranges the tensors of a version one by one.
struct Arranger<'a> {
    subject: &'a WatchSubject,
    settings: &'a CaptureSettings,
    /// The columns that drift monitoring knows.
    places: Vec<ColumnPlace>,
    /// Names of columns that are in use.
    taken: BTreeSet<String>,
}

impl Arranger<'_> {
    /// Arranges the inputs or the outputs.
    fn side(&mut self, side: Side, specs: &[TensorSpec]) -> Vec<Spread> {
        specs
            .iter()
            .enumerate()
            .map(|(at, spec)| Spread {
                name: spec.name.clone(),
                input: side == Side::Input,
                datatype: spec.dtype.name().to_owned(),
                optional: false,
                form: self.form(side, at, spec),
            })
            .collect()
    }

    /// Arranges an optional input, which belongs to a request as a whole.
    fn optional(&mut self, spec: &TensorSpec) -> Spread {
        Spread {
            name: spec.name.clone(),
            input: true,
            datatype: spec.dtype.name().to_owned(),
            optional: true,
            form: ColumnForm::Whole(self.column(Side::Input, &spec.name)),
        }
    }

    /// Chooses columns by element if each element of a row has a name, else the whole tensor.
    fn form(&mut self, side: Side, at: usize, spec: &TensorSpec) -> ColumnForm {
        let names: Vec<String> = self.places_of(side, at).map(|p| p.name.clone()).collect();

        match self.row_by_element(side, at, spec) {
            Some(row) => {
                let columns = names.iter().map(|name| self.column(side, name));
                ColumnForm::Columns(row, columns.collect())
            }
            None => ColumnForm::Whole(self.whole(side, spec, &names)),
        }
    }

    /// Returns the shape of a row, if rows are stored by element.
    fn row_by_element(&self, side: Side, at: usize, spec: &TensorSpec) -> Option<Vec<usize>> {
        if !self.subject.signature.has_dynamic_first_axis() {
            return None;
        }

        let row = row_of(spec)?;
        let width = elements(&row).filter(|width| *width > 0)?;
        let is_narrow = width <= WIDE || !self.subject.features.is_empty();
        let is_named = self.places_of(side, at).count() == width
            && self
                .places_of(side, at)
                .all(|place| matches!(place.part, RowPart::Element(_)));

        (is_narrow && is_named).then_some(row)
    }

    /// Returns the known columns of one tensor.
    fn places_of(&self, side: Side, at: usize) -> impl Iterator<Item = &ColumnPlace> {
        self.places
            .iter()
            .filter(move |place| place.side == side && place.tensor == at)
    }

    /// Arranges a tensor that is stored whole. It holds all of its columns, so if a rule drops or
    /// hashes one of them, nothing of the tensor is stored.
    fn whole(&mut self, side: Side, spec: &TensorSpec, names: &[String]) -> CapturedColumn {
        let mut whole = self.column(side, &spec.name);
        let features: &[String] = match side {
            Side::Input => &self.subject.features,
            Side::Output => &[],
        };

        let has_rule = names
            .iter()
            .chain(features)
            .any(|name| self.keep_of(name) != Keep::Value);
        if has_rule {
            whole.keep = Keep::Nothing;
        }

        whole
    }

    /// Names a column. One whose name is in use is prefixed with its side.
    fn column(&mut self, side: Side, name: &str) -> CapturedColumn {
        let keep = self.keep_of(name);
        let column = if self.taken.contains(name) {
            format!("{}.{name}", side.name())
        } else {
            name.to_owned()
        };

        self.taken.insert(column.clone());
        CapturedColumn { column, keep }
    }

    /// Decides what is stored of a column, by the rules `column` and `model/column` of the
    /// settings.
    fn keep_of(&self, column: &str) -> Keep {
        let model = self.subject.model.as_str();
        let has_rule = |rules: &[String]| rules.iter().any(|rule| names(rule, model, column));

        if has_rule(&self.settings.drop) {
            Keep::Nothing
        } else if has_rule(&self.settings.hash) {
            Keep::Hash
        } else {
            Keep::Value
        }
    }

    /// Refuses a rule for this model that names none of its columns.
    fn check_rules(&self, sheet: &Sheet) -> Result<()> {
        let model = self.subject.model.as_str();
        let unknown = self
            .settings
            .drop
            .iter()
            .chain(&self.settings.hash)
            .filter_map(|rule| rule.split_once('/'))
            .find(|(named, column)| *named == model && !self.has(sheet, column));

        match unknown {
            None => Ok(()),
            Some((_, column)) => Err(Error::precondition(format!(
                "capture.drop and capture.hash must name columns of the model, and it has no '{}'",
                short(column)
            ))),
        }
    }

    /// Tells whether the model has a column.
    fn has(&self, sheet: &Sheet, column: &str) -> bool {
        self.subject.features.iter().any(|name| name == column)
            || self.places.iter().any(|place| place.name == column)
            || sheet
                .kept()
                .any(|kept| kept.column.trim_start_matches("input.") == column)
    }
}

/// Tells whether a rule names a column of a model.
fn names(rule: &str, model: &str, column: &str) -> bool {
    rule == column || rule.split_once('/') == Some((model, column))
}

/// Returns the shape of a row, if it is fixed.
fn row_of(spec: &TensorSpec) -> Option<Vec<usize>> {
    let dims = spec.shape.as_ref()?;
    let (first, row) = dims.split_first()?;
    if *first != Dim::Dynamic {
        return None;
    }

    row.iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => Some(*size),
            Dim::Dynamic => None,
        })
        .collect()
}
