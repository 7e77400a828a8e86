//! Follows the rows from the inputs of a graph through its nodes. The first node whose
//! rule has a doubt is remembered; a later node that mixes rows for certain outweighs it.

use super::RowFinding;
use super::fact::{Doubt, Extent, Fact, Symbols, dependent, unknown};
use super::read::{self, GraphView, ModelView, NodeView};
use super::rules::NodeCall;
use super::rules::numbers::{computed, constant};
use super::table::{self, Treatment};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// What is known of the tensors of a graph, and of the graphs around it. None: a tensor whose
/// relation to the rows is not known.
struct Scope<'f, 'p> {
    facts: HashMap<&'f str, Option<Fact>>,
    parent: Option<&'p Scope<'f, 'p>>,
}

impl Scope<'_, '_> {
    fn find(&self, name: &str) -> Option<&Option<Fact>> {
        let own = self.facts.get(name);
        own.or_else(|| self.parent.and_then(|parent| parent.find(name)))
    }
}

/// Follows the rows of one model.
pub(super) struct Walk<'m> {
    opsets: &'m [(&'m str, i64)],
    functions: HashSet<(&'m str, &'m str)>,
    symbols: Symbols,
    /// The first node whose effect is unknown.
    unknown: RefCell<Option<RowFinding>>,
}

impl<'m> Walk<'m> {
    pub(super) fn new(model: &'m ModelView<'m>) -> Self {
        Self {
            opsets: &model.opsets,
            functions: model.functions.iter().copied().collect(),
            symbols: Symbols::default(),
            unknown: RefCell::default(),
        }
    }

    /// The first node whose effect is not known.
    pub(super) fn unknown(self) -> Option<RowFinding> {
        self.unknown.into_inner()
    }

    /// Follows the rows to the outputs of the model; the error is a node that mixes them.
    pub(super) fn model<'f>(&self, graph: &GraphView<'f>) -> Result<Vec<Option<Fact>>, RowFinding> {
        let mut scope = Scope {
            facts: HashMap::new(),
            parent: None,
        };
        for input in &graph.inputs {
            let dims = input.dims.as_ref().map(|dims| {
                let length = |(at, dim): (usize, &Option<i64>)| match dim {
                    Some(n) if at > 0 => Extent::fixed(*n),
                    _ if at == 0 => Extent::rows(),
                    _ => self.symbols.fresh(),
                };
                dims.iter().enumerate().map(length).collect::<Vec<Extent>>()
            });
            let fact = dims.filter(|d| !d.is_empty()).map(|d| Fact::of(Some(0), d));
            if fact.is_none() {
                self.doubt(
                    &NodeView::default(),
                    "an input has no declared shape".to_owned(),
                );
            }
            scope.facts.insert(input.name, fact);
        }

        self.graph(graph, scope)
    }

    /// Follows the nodes of a graph; returns what is known of its outputs.
    fn graph<'f>(
        &self,
        graph: &GraphView<'f>,
        mut scope: Scope<'f, '_>,
    ) -> Result<Vec<Option<Fact>>, RowFinding> {
        // An initializer outweighs an input of the same name, which is its default.
        for tensor in &graph.initializers {
            scope.facts.insert(tensor.name, Some(constant(tensor)));
        }
        for node in &graph.nodes {
            let facts = self.node(node, &scope)?;
            let mut facts = facts.into_iter();
            for name in &node.outputs {
                scope.facts.insert(name, facts.next().flatten());
            }
        }

        let find = |name: &&str| scope.find(name).cloned().flatten();
        Ok(graph.outputs.iter().map(find).collect())
    }

    /// The outputs of a node; empty where its effect is not known.
    fn node<'f>(
        &self,
        node: &NodeView<'f>,
        scope: &Scope<'f, '_>,
    ) -> Result<Vec<Option<Fact>>, RowFinding> {
        let group = table::find(node.domain, node.op);
        match self.outputs(node, scope)? {
            Ok(facts) => Ok(facts),
            Err(Doubt::Dependent(reason)) => {
                let general = group.map_or_else(String::new, |g| g.reason.to_owned());
                let reason = if reason.is_empty() { general } else { reason };
                Err(finding(node, reason))
            }
            Err(Doubt::Unknown(reason)) => {
                let general = group.map_or("the operator is not known here", |g| g.reason);
                let reason = if reason.is_empty() {
                    general.to_owned()
                } else {
                    reason
                };
                self.doubt(node, reason);
                Ok(Vec::new())
            }
        }
    }

    fn doubt(&self, node: &NodeView<'_>, reason: String) {
        let mut first = self.unknown.borrow_mut();
        first.get_or_insert_with(|| finding(node, reason));
    }

    /// Applies the rule of a node.
    fn outputs<'f>(
        &self,
        node: &NodeView<'f>,
        scope: &Scope<'f, '_>,
    ) -> Result<Result<Vec<Option<Fact>>, Doubt>, RowFinding> {
        if self.functions.contains(&(node.domain, node.op)) {
            return Ok(unknown("it is a function of the model"));
        }
        let Some(group) = table::find(node.domain, node.op) else {
            return Ok(unknown(""));
        };

        let mut inputs = Vec::with_capacity(node.inputs.len());
        let mut complete = true;
        for name in &node.inputs {
            let fact = scope.find(name).cloned().flatten();
            complete &= name.is_empty() || fact.is_some();
            inputs.push(fact);
        }
        let is_uniform = complete && inputs.iter().flatten().all(|f| f.axis.is_none());

        match group.treatment {
            Treatment::Random => return Ok(dependent("")),
            Treatment::Mixes if !is_uniform => return Ok(dependent("")),
            Treatment::Branches => return self.branches(node, scope, inputs.first()),
            _ => {}
        }
        // A subgraph may see more than the inputs of its node.
        let has_graph = node.attributes.iter().any(|a| a.graph.is_some());
        if !complete || has_graph {
            return Ok(unknown(""));
        }
        let call = NodeCall {
            node,
            inputs,
            opset: self.opset(node.domain),
            symbols: &self.symbols,
        };
        Ok(applied(&call, group.treatment, is_uniform))
    }

    fn opset(&self, domain: &str) -> i64 {
        let found = self.opsets.iter().find(|(name, _)| *name == domain);
        found.map_or(1, |(_, version)| *version)
    }

    /// Follows both branches of an If.
    fn branches<'f>(
        &self,
        node: &NodeView<'f>,
        scope: &Scope<'f, '_>,
        condition: Option<&Option<Fact>>,
    ) -> Result<Result<Vec<Option<Fact>>, Doubt>, RowFinding> {
        let Some(Some(condition)) = condition else {
            return Ok(unknown("its condition is not known"));
        };
        if condition.axis.is_some() || condition.counts_rows() {
            return Ok(dependent("its condition depends on the rows"));
        }

        let mut results = Vec::new();
        for name in ["then_branch", "else_branch"] {
            let body = node.attribute(name).and_then(|a| a.graph);
            let Some(Ok(graph)) = body.map(read::graph) else {
                return Ok(unknown("it has no branches"));
            };
            let inner = Scope {
                facts: HashMap::new(),
                parent: Some(scope),
            };
            results.push(self.graph(&graph, inner)?);
        }

        let pairs = results[0].iter().zip(&results[1]);
        let merged = pairs.map(|(a, b)| self.either(a.as_ref()?, b.as_ref()?));
        let merged: Vec<Option<Fact>> = merged.collect();
        if merged.iter().any(Option::is_none) {
            return Ok(unknown("its branches differ in their batch axis"));
        }
        Ok(Ok(merged))
    }

    /// What holds for both results of a branch.
    fn either(&self, a: &Fact, b: &Fact) -> Option<Fact> {
        if a == b {
            return Some(a.clone());
        }
        if a.axis != b.axis || a.counts_rows() || b.counts_rows() {
            return None;
        }
        let (left, right) = match (&a.dims, &b.dims, a.axis) {
            (Some(left), Some(right), _) if left.len() == right.len() => (left, right),
            (_, _, None) => return Some(Fact::uniform(None)),
            _ => return None,
        };
        if a.axis.is_some_and(|axis| left[axis] != right[axis]) {
            return None;
        }
        let length = |(l, r): (&Extent, &Extent)| match l == r {
            true => l.clone(),
            false => self.symbols.fresh(),
        };
        Some(Fact::of(
            a.axis,
            left.iter().zip(right).map(length).collect(),
        ))
    }
}

fn finding(node: &NodeView<'_>, reason: String) -> RowFinding {
    RowFinding {
        node: node.name.to_owned(),
        operator: node.op.to_owned(),
        reason,
    }
}

/// Inputs that set a shape, in which the number of rows may stand.
fn sets_shape(operator: &str, at: usize) -> bool {
    match operator {
        "Reshape" | "Expand" | "Tile" | "Upsample" => at == 1,
        "Slice" => at == 1 || at == 2,
        "Resize" => at > 0,
        "ConstantOfShape" | "Shape" | "Size" => true,
        _ => false,
    }
}

/// The outputs of a node whose inputs are known.
fn applied(
    call: &NodeCall<'_>,
    treatment: Treatment,
    is_uniform: bool,
) -> Result<Vec<Option<Fact>>, Doubt> {
    let counts = call.present().any(Fact::counts_rows);
    let result = match treatment {
        Treatment::Rule(rule) => rule(call),
        _ => unknown(""),
    };
    let mut facts = match result {
        Err(Doubt::Unknown(_)) if is_uniform && !counts => {
            vec![Fact::uniform(None); call.node.outputs.len()]
        }
        other => other?,
    };

    let spreads = facts.iter().any(|f| f.axis.is_some());
    if is_uniform && !spreads && facts.iter().all(|f| f.numbers.is_none()) {
        let numbers = computed(call);
        if counts && numbers.is_none() {
            return dependent("it uses the number of rows as a value");
        }
        if let Some(first) = facts.first_mut() {
            first.numbers = numbers;
        }
    }
    let as_value = |(at, fact): (usize, &Option<Fact>)| {
        fact.as_ref().is_some_and(Fact::counts_rows) && !sets_shape(call.node.op, at)
    };
    if spreads && call.inputs.iter().enumerate().any(as_value) {
        return dependent("it uses the number of rows as a value");
    }
    Ok(facts.into_iter().map(Some).collect())
}
