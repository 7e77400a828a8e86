//! Nodes with bodies: branches, loops, scans, and calls of the model's own functions.

use super::{Known, Outcome, Scope, Walk, imported};
use crate::onnx::rows::RowFinding;
use crate::onnx::rows::fact::{Doubt, Extent, Fact, dependent, from_front, unknown};
use crate::onnx::rows::read::{AttributeView, FunctionView, GraphView, NodeView};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Passes through the body of a loop until what is known of its state stays the same.
const PASSES_MAX: usize = 8;

impl<'m> Walk<'m> {
    /// Follows the branches of an If: the one that is taken, where that is certain.
    pub(super) fn branches<'f>(
        &self,
        node: &NodeView<'f>,
        condition: Option<&Known>,
        scope: &Scope<'f, '_>,
    ) -> Outcome
    where
        'm: 'f,
    {
        let Some(Some(condition)) = condition else {
            return Ok(unknown("its condition is not known"));
        };
        if condition.axis.is_some() || condition.counts_rows() {
            return Ok(dependent("its condition depends on the rows"));
        }

        let taken = condition
            .numbers
            .as_deref()
            .and_then(|n| n.first()?.as_fixed());
        let names: &[&str] = match taken {
            Some(0) => &["else_branch"],
            Some(_) => &["then_branch"],
            None => &["then_branch", "else_branch"],
        };
        let mut results = Vec::new();
        for name in names {
            let Some(graph) = body(node, name) else {
                return Ok(unknown("it has no branches"));
            };
            results.push(self.graph(&graph, scope.inner(HashMap::new()))?);
        }

        let Some(second) = results.get(1) else {
            return Ok(Ok(results.swap_remove(0)));
        };
        let pairs = results[0].iter().zip(second);
        let merged = pairs.map(|(a, b)| self.either(a.as_ref()?, b.as_ref()?));
        let merged: Vec<Known> = merged.collect();
        if merged.iter().any(Option::is_none) {
            return Ok(unknown("its branches differ in their batch axis"));
        }
        Ok(Ok(merged))
    }

    /// Follows a Loop: its state, and values that it collects along a new first axis.
    pub(super) fn repeated<'f>(
        &self,
        node: &NodeView<'f>,
        inputs: &[Known],
        scope: &Scope<'f, '_>,
    ) -> Outcome
    where
        'm: 'f,
    {
        let Some(graph) = body(node, "body") else {
            return Ok(unknown("it has no body"));
        };
        for (name, fact) in node.inputs.iter().zip(inputs).take(2) {
            if !name.is_empty()
                && let Err(doubt) = ends_alike(fact)
            {
                return Ok(Err(doubt));
            }
        }

        let number = || Some(Fact::uniform(Some(Vec::new())));
        let pass = BodyPass {
            graph,
            fixed: vec![number(), number()],
            elements: Vec::new(),
            ends: 1,
        };
        let state = inputs.get(2..).unwrap_or_default().to_vec();
        let outputs = match self.settled(&pass, state, scope)? {
            Ok(outputs) => outputs,
            Err(doubt) => return Ok(Err(doubt)),
        };
        if let Some(goes_on) = outputs.ends.first()
            && let Err(doubt) = ends_alike(goes_on)
        {
            return Ok(Err(doubt));
        }
        let collected = outputs
            .collected
            .iter()
            .map(|k| self.stacked(k.as_ref()?, 0));
        Ok(Ok(outputs.state.into_iter().chain(collected).collect()))
    }

    /// Follows a Scan: its state, the elements that it takes along one axis of its inputs, and
    /// values that it collects along a new axis.
    pub(super) fn scanned<'f>(
        &self,
        node: &NodeView<'f>,
        inputs: &[Known],
        scope: &Scope<'f, '_>,
    ) -> Outcome
    where
        'm: 'f,
    {
        let Some(graph) = body(node, "body") else {
            return Ok(unknown("it has no body"));
        };
        let count = node.int("num_scan_inputs").unwrap_or(0);
        let states = usize::try_from(count)
            .ok()
            .and_then(|n| inputs.len().checked_sub(n));
        let (Some(states), true) = (states, scope.opset("").is_some_and(|version| version >= 9))
        else {
            return Ok(unknown("its inputs are not known"));
        };
        let axes = (
            axes_of(node, "scan_input_axes"),
            axes_of(node, "scan_output_axes"),
        );
        let (Some(from), Some(to)) = axes else {
            return Ok(unknown("its axes are not known"));
        };

        let mut elements = Vec::new();
        for (at, known) in inputs[states..].iter().enumerate() {
            let axis = from.get(at).copied().unwrap_or(0);
            match known.as_ref().map(|fact| element(fact, axis)) {
                Some(Ok(fact)) => elements.push(Some(fact)),
                Some(Err(doubt)) => return Ok(Err(doubt)),
                None => elements.push(None),
            }
        }
        let pass = BodyPass {
            graph,
            fixed: Vec::new(),
            elements,
            ends: 0,
        };
        let outputs = match self.settled(&pass, inputs[..states].to_vec(), scope)? {
            Ok(outputs) => outputs,
            Err(doubt) => return Ok(Err(doubt)),
        };
        let collected = outputs.collected.iter().enumerate();
        let collected = collected
            .map(|(at, known)| self.stacked(known.as_ref()?, to.get(at).copied().unwrap_or(0)));
        Ok(Ok(outputs.state.into_iter().chain(collected).collect()))
    }

    /// A value that a loop collects along a new axis.
    fn stacked(&self, fact: &Fact, axis: i64) -> Known {
        let fact = self.loosened(fact);
        let mut dims = fact.dims?;
        let at = from_front(axis, dims.len() + 1).ok()?;
        dims.insert(at, self.symbols.fresh());
        let batch = fact.axis.map(|own| own + usize::from(at <= own));
        Some(Fact::of(batch, dims))
    }

    /// Passes through a body until what is known of its state holds for every pass.
    fn settled<'f>(
        &self,
        pass: &BodyPass<'f>,
        mut state: Vec<Known>,
        scope: &Scope<'f, '_>,
    ) -> Result<Result<BodyOutputs, Doubt>, RowFinding>
    where
        'm: 'f,
    {
        let mut changed = HashSet::new();
        for _ in 0..PASSES_MAX {
            let given = pass.fixed.iter().chain(&state).chain(&pass.elements);
            let names = pass.graph.inputs.iter().map(|input| input.name);
            let facts = names.zip(given.cloned()).collect();
            let mut outputs = self.graph(&pass.graph, scope.inner(facts))?;
            let until = pass.ends + state.len();
            if outputs.len() < until {
                return Ok(unknown("its body has too few outputs"));
            }
            let collected = outputs.split_off(until);
            let after = outputs.split_off(pass.ends);

            let pairs = state.iter().zip(&after);
            let merged = pairs.map(|(old, new)| self.widened(old, new, &mut changed));
            let merged: Vec<Known> = merged.collect();
            if merged == state {
                let loose = |known: &Known| known.as_ref().map(|fact| self.loosened(fact));
                return Ok(Ok(BodyOutputs {
                    ends: outputs,
                    state: state.iter().map(loose).collect(),
                    collected,
                }));
            }
            state = merged;
        }
        Ok(unknown("its state changes its shape"))
    }

    /// Follows a call of a function of the model.
    pub(super) fn function<'f>(
        &self,
        node: &NodeView<'f>,
        function: Option<&'m FunctionView<'m>>,
        inputs: Vec<Known>,
        scope: &Scope<'f, '_>,
    ) -> Outcome
    where
        'm: 'f,
    {
        let Some(function) = function else {
            return Ok(unknown("more than one function of the model has its name"));
        };
        if is_of_onnx_runtime(node.domain) {
            return Ok(unknown(
                "a function of the model may have the name of an operator",
            ));
        }
        // ONNX Runtime computes the body by the operator sets of the model.
        let is_same = |(domain, version): &(&str, i64)| {
            imported(&self.model.opsets, domain) == Some(*version)
        };
        if !function.opsets.iter().all(is_same) {
            return Ok(unknown(
                "the function uses another operator set than the model",
            ));
        }
        let mut facts: HashMap<&'f str, Known> = HashMap::new();
        for (at, name) in function.inputs.iter().enumerate() {
            facts.insert(name, inputs.get(at).cloned().flatten());
        }
        let mut inner = Scope {
            facts,
            opsets: &function.opsets,
            parent: None,
            depth: scope.depth + 1,
        };
        let nodes: Vec<NodeView<'f>> = function
            .nodes
            .iter()
            .map(|inside| with_attributes(inside, node, function))
            .collect();
        self.nodes(&nodes, &mut inner)?;
        let outputs = function.outputs.iter().map(|name| inner.find(name));
        Ok(Ok(outputs.collect()))
    }
}

/// Tells whether ONNX Runtime has operators of this domain, which it runs instead of a function of
/// the same name.
fn is_of_onnx_runtime(domain: &str) -> bool {
    let root = domain.split('.').take(2).collect::<Vec<_>>();
    domain.is_empty() || matches!(root[..], ["ai", "onnx"] | ["com", "microsoft" | "ms"])
}

/// A pass through the body of a loop.
struct BodyPass<'f> {
    graph: Rc<GraphView<'f>>,
    /// Inputs before the state.
    fixed: Vec<Known>,
    /// Inputs after the state.
    elements: Vec<Known>,
    /// Outputs before the state.
    ends: usize,
}

/// What is known after a loop.
struct BodyOutputs {
    ends: Vec<Known>,
    state: Vec<Known>,
    collected: Vec<Known>,
}

/// A subgraph of a node.
fn body<'f>(node: &NodeView<'f>, name: &str) -> Option<Rc<GraphView<'f>>> {
    node.attribute(name).and_then(|a| a.graph.clone())
}

fn axes_of(node: &NodeView<'_>, name: &str) -> Option<Vec<i64>> {
    match node.attribute(name) {
        Some(list) => (list.listed == list.ints.len()).then(|| list.ints.clone()),
        None => Some(Vec::new()),
    }
}

/// Refuses a number of passes that depends on the rows.
fn ends_alike(known: &Known) -> Result<(), Doubt> {
    let Some(fact) = known else {
        return unknown("how often it runs is not known");
    };
    if fact.axis.is_some() {
        return dependent("how often it runs depends on the rows");
    }
    if fact.counts_rows() {
        return unknown("it runs once for each row");
    }
    Ok(())
}

/// An element of a tensor that a Scan goes through along one axis.
fn element(fact: &Fact, axis: i64) -> Result<Fact, Doubt> {
    let mut dims: Vec<Extent> = fact.dims()?.to_vec();
    let at = from_front(axis, dims.len())?;
    if fact.axis == Some(at) {
        return dependent("it goes from row to row");
    }
    dims.remove(at);
    let batch = fact.axis.map(|own| own - usize::from(at < own));
    Ok(Fact::of(batch, dims))
}

/// A node of a function, with the attributes of a call in place of references to them.
fn with_attributes<'f>(
    inside: &NodeView<'f>,
    call: &NodeView<'f>,
    function: &FunctionView<'f>,
) -> NodeView<'f> {
    let mut node = inside.clone();
    let resolved = inside.attributes.iter().filter_map(|own| {
        let Some(reference) = own.reference else {
            return Some(own.clone());
        };
        let defaults = function.defaults.iter();
        let given = call
            .attributes
            .iter()
            .chain(defaults)
            .find(|a| a.name == reference)?;
        Some(AttributeView {
            name: own.name,
            ..given.clone()
        })
    });
    node.attributes = resolved.collect();
    node
}
