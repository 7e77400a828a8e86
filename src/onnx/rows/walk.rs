//! Follows the rows from the inputs of a graph through its nodes. The first node whose
//! rule has a doubt is remembered; a later node that mixes rows for certain outweighs it.

use super::RowFinding;
use super::fact::{Doubt, Extent, Fact, Symbols, dependent, unknown};
use super::read::{FunctionView, GraphView, ModelView, NodeView, Opsets};
use super::rules::NodeCall;
use super::rules::numbers::{computed, constant};
use super::table::{self, Treatment};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

mod bodies;
mod merge;
#[cfg(test)]
mod tests;

/// The most parts that are visited: nodes with their inputs, outputs and attributes, and constants. A
/// part of a loop or function is visited more than once; the rest of a larger graph is unknown.
const VISITS_MAX: usize = 2_000_000;
/// The most axes of a tensor.
const AXES_MAX: usize = 64;
/// The deepest nesting of subgraphs and functions.
const DEPTH_MAX: u32 = 24;

/// What is known of a tensor; none if its relation to the rows is not known.
type Known = Option<Fact>;

/// The outputs of a node, or a doubt; the outer error is a node inside it that mixes rows.
type Outcome = Result<Result<Vec<Known>, Doubt>, RowFinding>;

/// What is known of the tensors of a graph, and of the graphs around it.
struct Scope<'f, 'p> {
    facts: HashMap<&'f str, Known>,
    opsets: &'p Opsets<'f>,
    parent: Option<&'p Scope<'f, 'p>>,
    depth: u32,
}

impl<'f, 'p> Scope<'f, 'p> {
    fn find(&self, name: &str) -> Known {
        match self.facts.get(name) {
            Some(known) => known.clone(),
            None => self.parent.and_then(|parent| parent.find(name)),
        }
    }

    /// The scope of a subgraph.
    fn inner<'s>(&'s self, facts: HashMap<&'f str, Known>) -> Scope<'f, 's>
    where
        'p: 's,
    {
        Scope {
            facts,
            opsets: self.opsets,
            parent: Some(self),
            depth: self.depth + 1,
        }
    }

    /// The version of an operator set; none if it is not imported, so that ONNX Runtime chooses.
    fn opset(&self, domain: &str) -> Option<i64> {
        imported(self.opsets, domain)
    }
}

/// The version of an operator set; none if it is not imported.
fn imported(opsets: &Opsets<'_>, domain: &str) -> Option<i64> {
    let found = opsets.iter().find(|(name, _)| *name == domain);
    found.map(|(_, version)| *version)
}

/// Follows the rows of one model.
pub(super) struct Walk<'m> {
    model: &'m ModelView<'m>,
    /// None: more than one function has the name.
    functions: HashMap<(&'m str, &'m str), Option<&'m FunctionView<'m>>>,
    symbols: Symbols,
    visits: Cell<usize>,
    /// The first node whose effect is unknown.
    unknown: RefCell<Option<RowFinding>>,
}

impl<'m> Walk<'m> {
    pub(super) fn new(model: &'m ModelView<'m>) -> Self {
        let mut functions = HashMap::new();
        for function in &model.functions {
            functions
                .entry((function.domain, function.name))
                .and_modify(|only| *only = None)
                .or_insert(Some(function));
        }

        Self {
            model,
            functions,
            symbols: Symbols::default(),
            visits: Cell::new(0),
            unknown: RefCell::default(),
        }
    }

    /// The first node whose effect is not known.
    pub(super) fn unknown(self) -> Option<RowFinding> {
        self.unknown.into_inner()
    }

    /// Follows the rows to the outputs of the model; the error is a node that mixes them.
    pub(super) fn run(&self) -> Result<Vec<Known>, RowFinding> {
        let graph = &self.model.graph;
        let mut facts = HashMap::new();
        for input in &graph.inputs {
            let fact = input.dims.as_deref().and_then(|dims| self.declared(dims));
            if fact.is_none() {
                let reason = "an input has no declared shape".to_owned();
                self.doubt(&NodeView::default(), reason);
            }
            facts.insert(input.name, fact);
        }

        let scope = Scope {
            facts,
            opsets: &self.model.opsets,
            parent: None,
            depth: 0,
        };
        self.graph(graph, scope)
    }

    /// An input of the model, whose first axis has the rows.
    fn declared(&self, dims: &[Option<i64>]) -> Known {
        let (_, inner) = dims.split_first()?;
        let inner = inner.iter().map(|dim| match dim {
            Some(n) => Extent::fixed(*n),
            None => self.symbols.fresh(),
        });
        let dims = std::iter::once(Extent::rows()).chain(inner).collect();
        Some(Fact::of(Some(0), dims))
    }

    /// Follows the nodes of a graph; returns what is known of its outputs.
    fn graph<'f>(
        &self,
        graph: &GraphView<'f>,
        mut scope: Scope<'f, '_>,
    ) -> Result<Vec<Known>, RowFinding>
    where
        'm: 'f,
    {
        self.visit(graph.initializers.len() + graph.inputs.len() + graph.outputs.len());
        // An initializer outweighs an input of the same name, which is its default.
        for tensor in &graph.initializers {
            let fact = constant(tensor, &self.symbols);
            scope.facts.insert(tensor.name, Some(fact));
        }
        self.nodes(&graph.nodes, &mut scope)?;
        Ok(graph.outputs.iter().map(|name| scope.find(name)).collect())
    }

    fn nodes<'f>(&self, nodes: &[NodeView<'f>], scope: &mut Scope<'f, '_>) -> Result<(), RowFinding>
    where
        'm: 'f,
    {
        for node in nodes {
            let mut facts = self.node(node, scope)?.into_iter();
            for name in &node.outputs {
                let known = facts.next().flatten();
                if !name.is_empty() {
                    scope.facts.insert(name, known);
                }
            }
        }
        Ok(())
    }

    /// The outputs of a node; empty where its effect is not known.
    fn node<'f>(&self, node: &NodeView<'f>, scope: &Scope<'f, '_>) -> Result<Vec<Known>, RowFinding>
    where
        'm: 'f,
    {
        let general = || match table::find(node.domain, node.op) {
            Some(group) => group.reason,
            None => "the operator is not known here",
        };
        let said = |reason: String| match reason.as_str() {
            "" => general().to_owned(),
            _ => reason,
        };

        match self.outputs(node, scope)? {
            Ok(facts) => Ok(facts),
            Err(Doubt::Dependent(reason)) => Err(finding(node, said(reason))),
            Err(Doubt::Unknown(reason)) => {
                self.doubt(node, said(reason));
                Ok(Vec::new())
            }
        }
    }

    fn visit(&self, parts: usize) {
        self.visits.set(self.visits.get().saturating_add(parts));
    }

    fn doubt(&self, node: &NodeView<'_>, reason: String) {
        let mut first = self.unknown.borrow_mut();
        first.get_or_insert_with(|| finding(node, reason));
    }

    /// Applies the rule of a node.
    fn outputs<'f>(&self, node: &NodeView<'f>, scope: &Scope<'f, '_>) -> Outcome
    where
        'm: 'f,
    {
        self.visit(1 + node.inputs.len() + node.outputs.len() + node.attributes.len());
        if self.visits.get() > VISITS_MAX || scope.depth > DEPTH_MAX {
            return Ok(unknown("the graph is too large to be followed"));
        }
        if node.attributes.iter().any(|a| a.reference.is_some()) {
            return Ok(unknown("its attributes are those of a function"));
        }
        let inputs: Vec<Known> = node.inputs.iter().map(|name| scope.find(name)).collect();
        if let Some(function) = self.functions.get(&(node.domain, node.op)) {
            return self.function(node, *function, inputs, scope);
        }
        let Some(group) = table::find(node.domain, node.op) else {
            return Ok(unknown(""));
        };
        let Some(opset) = scope.opset(node.domain) else {
            return Ok(unknown("the file does not import its operator set"));
        };

        let named = node.inputs.iter().zip(&inputs);
        let is_complete = named
            .clone()
            .all(|(name, fact)| name.is_empty() || fact.is_some());
        let is_uniform = is_complete && inputs.iter().flatten().all(|f| f.axis.is_none());
        match group.treatment {
            Treatment::Random => return Ok(dependent("")),
            Treatment::Mixes if !is_uniform => return Ok(dependent("")),
            Treatment::Branches => return self.branches(node, inputs.first(), scope),
            Treatment::Loop => return self.repeated(node, &inputs, scope),
            Treatment::Scan => return self.scanned(node, &inputs, scope),
            _ => {}
        }
        // A subgraph may see more than the inputs of its node.
        let has_graph = node.attributes.iter().any(|a| a.graph.is_some());
        if !is_complete || has_graph {
            return Ok(unknown(""));
        }
        let call = NodeCall {
            node,
            inputs,
            opset,
            symbols: &self.symbols,
        };
        Ok(applied(&call, group.treatment, is_uniform))
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
        "AffineGrid" | "Expand" | "Reshape" | "Tile" | "Upsample" => at == 1,
        "Slice" => at == 1 || at == 2,
        "Resize" => at > 0,
        "ConstantOfShape" | "Shape" | "Size" => true,
        _ => false,
    }
}

const AS_VALUE: &str = "it uses the number of rows as a value";

/// The outputs of a node whose inputs are known.
fn applied(
    call: &NodeCall<'_>,
    treatment: Treatment,
    is_uniform: bool,
) -> Result<Vec<Known>, Doubt> {
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
    if facts
        .iter()
        .flat_map(|f| &f.dims)
        .any(|d| d.len() > AXES_MAX)
    {
        return unknown("it has too many axes");
    }

    let spreads = facts.iter().any(|f| f.axis.is_some());
    if is_uniform && !spreads && facts.iter().all(|f| f.numbers.is_none()) {
        compute(call, &mut facts, counts)?;
    }
    let as_value = |(at, fact): (usize, &Known)| {
        fact.as_ref().is_some_and(Fact::counts_rows) && !sets_shape(call.node.op, at)
    };
    if spreads && call.inputs.iter().enumerate().any(as_value) {
        return dependent(AS_VALUE);
    }
    Ok(facts.into_iter().map(Some).collect())
}

/// Adds the numbers of the outputs. If the number of rows is one of the inputs' numbers,
/// those of all outputs must be known.
fn compute(call: &NodeCall<'_>, facts: &mut [Fact], counts: bool) -> Result<(), Doubt> {
    let lists = computed(call, facts);
    for (at, fact) in facts.iter_mut().enumerate() {
        let numbers = lists.get(at).cloned().flatten();
        fact.numbers = numbers.filter(|list| fact.holds(list.len()));
        if counts && fact.numbers.is_none() && call.node.gives(at) {
            return dependent(AS_VALUE);
        }
    }
    Ok(())
}
