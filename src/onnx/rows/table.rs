//! The operators that the analysis knows, each with its rule and the reason for it. An
//! operator that is not listed is unknown.

use super::rules::{
    Facts, NodeCall, attention, cast, cast_like, elementwise, elementwise_but_single, index,
    layout, like_first, matrix, numbers, range, reduce, window,
};
use Treatment::{Branches, Loop, Mixes, Random, Rule, Scan, Uncovered};
use std::collections::HashMap;
use std::sync::LazyLock;

/// How an operator treats rows.
#[derive(Clone, Copy)]
pub(super) enum Treatment {
    /// By its attributes and shapes.
    Rule(fn(&NodeCall<'_>) -> Facts),
    /// Follows both subgraphs.
    Branches,
    /// Follows the body of a loop.
    Loop,
    /// Follows the body of a scan.
    Scan,
    /// Rows influence each other, unless it only sees constants.
    Mixes,
    /// Other values at each run.
    Random,
    /// Unknown, unless it only sees constants.
    Uncovered,
}

/// Operators of one domain with one rule.
pub(super) struct OperatorGroup {
    pub domain: &'static str,
    /// Their names, separated by blanks.
    pub operators: &'static str,
    pub treatment: Treatment,
    /// What the operator does with rows, as the end of a sentence about it.
    pub reason: &'static str,
}

impl OperatorGroup {
    /// The names of its operators.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.operators.split_whitespace()
    }
}

/// Finds the group of an operator.
pub(super) fn find(domain: &str, operator: &str) -> Option<&'static OperatorGroup> {
    static GROUPS: LazyLock<HashMap<(&str, &str), &OperatorGroup>> = LazyLock::new(|| {
        let entries = TABLE.iter();
        let entries = entries.flat_map(|g| g.names().map(move |name| ((g.domain, name), g)));
        entries.collect()
    });
    GROUPS.get(&(domain, operator)).copied()
}

const ML: &str = "ai.onnx.ml";
const TRAINING: &str = "ai.onnx.preview.training";
const MICROSOFT: &str = "com.microsoft";

const fn group(
    domain: &'static str,
    operators: &'static str,
    treatment: Treatment,
    reason: &'static str,
) -> OperatorGroup {
    OperatorGroup {
        domain,
        operators,
        treatment,
        reason,
    }
}

pub(super) const TABLE: &[OperatorGroup] = &[
    group(
        "",
        "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos \
         Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN \
         LeakyRelu Log Mish Neg Not Reciprocal RegexFullMatch Relu Round Selu \
         Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh \
         ThresholdedRelu",
        Rule(like_first),
        "computes each element from the same element",
    ),
    group(
        "",
        "Cast",
        Rule(cast),
        "computes each element from the same element; out of range, unsigned integers depend on the place",
    ),
    group(
        "",
        "CastLike",
        Rule(cast_like),
        "values out of range of an unsigned integer depend on their place; which type it gives is not followed",
    ),
    group(
        "",
        "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater \
         GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu \
         StringConcat Sub Sum Where Xor",
        Rule(elementwise),
        "computes each element from elements at the same place; a constant must not vary along the batch axis",
    ),
    group(
        "",
        "Pow",
        Rule(elementwise_but_single),
        "computes each element from elements at the same place; a single element may be computed in another way",
    ),
    group(
        "",
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean \
         ReduceMin ReduceProd ReduceSum ReduceSumSquare",
        Rule(reduce::reduce),
        "reduces the axes that it names; the batch axis must not be one of them",
    ),
    group(
        "",
        "ArgMax ArgMin",
        Rule(reduce::arg_reduce),
        "searches along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "Softmax LogSoftmax Hardmax",
        Rule(reduce::softmax),
        "normalises along an axis, before operator set 13 over all axes from it on; the batch axis must not be one of them",
    ),
    group(
        "",
        "LpNormalization",
        Rule(reduce::along_last),
        "normalises along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "LayerNormalization RMSNormalization",
        Rule(reduce::layer_norm),
        "normalises over the last axes; the batch axis must not be one of them",
    ),
    group(
        "",
        "CumSum CumProd",
        Rule(reduce::cumulative),
        "accumulates along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "TopK",
        Rule(reduce::top_k),
        "sorts along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "MeanVarianceNormalization",
        Rule(reduce::mean_variance),
        "normalises over the axes that it names, by default with the batch axis",
    ),
    group(
        "",
        "Det Trilu",
        Rule(reduce::last_two),
        "treats the last two axes as matrices; the batch axis must not be one of them",
    ),
    group(
        "",
        "Transpose",
        Rule(layout::transpose),
        "moves the batch axis with the others",
    ),
    group(
        "",
        "Reshape",
        Rule(layout::reshape),
        "keeps rows together if as many elements lie before the batch axis as before",
    ),
    group(
        "",
        "Flatten",
        Rule(layout::flatten),
        "keeps rows together if as many elements lie before the batch axis as before",
    ),
    group(
        "",
        "Squeeze",
        Rule(layout::squeeze),
        "removes axes; the batch axis must not be one of them",
    ),
    group(
        "",
        "Unsqueeze",
        Rule(layout::unsqueeze),
        "adds axes of length 1",
    ),
    group(
        "",
        "Expand",
        Rule(layout::expand),
        "repeats along axes of length 1, by a shape that must be known",
    ),
    group(
        "",
        "ConstantOfShape",
        Rule(layout::constant_of_shape),
        "fills a shape, which must be known, with one value",
    ),
    group(
        "",
        "Tile",
        Rule(layout::tile),
        "repeats along axes; the batch axis must not be repeated",
    ),
    group(
        "",
        "Concat",
        Rule(layout::concat),
        "joins along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "Split",
        Rule(layout::split),
        "cuts along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "Slice",
        Rule(index::slice),
        "cuts axes; the batch axis must stay whole",
    ),
    group(
        "",
        "Pad",
        Rule(index::pad),
        "pads axes; the batch axis must not be padded",
    ),
    group(
        "",
        "Gather",
        Rule(index::gather),
        "looks up indices; it must not look along the batch axis",
    ),
    group(
        "",
        "GatherElements ScatterElements Scatter",
        Rule(index::elements),
        "moves elements along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "GatherND",
        Rule(index::gather_nd),
        "looks up indices in constants, or within the row that batch_dims keeps",
    ),
    group(
        "",
        "OneHot",
        Rule(index::one_hot),
        "adds an axis of zeros and a one",
    ),
    group(
        "",
        "Compress",
        Rule(index::compress),
        "selects along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "ReverseSequence",
        Rule(index::reverse_sequence),
        "reverses along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "MatMul",
        Rule(matrix::matmul),
        "sums along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "MatMulInteger",
        Rule(matrix::matmul_integer),
        "sums along one axis, which must not be the batch axis; zero points must be constants",
    ),
    group(
        "",
        "QLinearMatMul",
        Rule(matrix::quantized_matmul),
        "sums along one axis, which must not be the batch axis; scales must be constants",
    ),
    group(
        "",
        "Gemm",
        Rule(matrix::gemm),
        "sums along one axis, which must not be the batch axis",
    ),
    group(
        "",
        "Einsum",
        Rule(matrix::einsum),
        "sums over letters; the batch axis must have one letter, which stays",
    ),
    group(
        "",
        "Conv ConvTranspose ConvInteger QLinearConv AveragePool MaxPool LpPool \
         GlobalAveragePool GlobalMaxPool GlobalLpPool",
        Rule(window::window),
        "works within each row of [N, C, …]; weights must be constants",
    ),
    group(
        "",
        "BatchNormalization",
        Rule(window::batch_norm),
        "at inference it scales by constants; in training it normalises by the whole batch",
    ),
    group(
        "",
        "InstanceNormalization GroupNormalization LRN",
        Rule(window::within_row),
        "normalises within each row of [N, C, …]",
    ),
    group(
        "",
        "DepthToSpace SpaceToDepth",
        Rule(window::window),
        "moves elements within each row of [N, C, …]",
    ),
    group(
        "",
        "Dropout",
        Rule(window::dropout),
        "does nothing at inference",
    ),
    group(
        "",
        "QuantizeLinear DequantizeLinear",
        Rule(window::quantize),
        "scales each element; scales must be constants that do not vary along the batch axis",
    ),
    group(
        "",
        "LSTM GRU RNN",
        Rule(window::recurrent),
        "runs each row's sequence on its own; the batch must be on its batch axis",
    ),
    group(
        "",
        "Resize Upsample",
        Rule(window::resize),
        "interpolates; the batch axis must keep its length",
    ),
    group(
        "",
        "GridSample",
        Rule(window::paired),
        "samples each row by the grid of the same row",
    ),
    group(
        "",
        "TfIdfVectorizer",
        Rule(window::by_feature),
        "counts within each row of [N, words]; on a vector within the whole batch",
    ),
    group(
        "",
        "Shape",
        Rule(numbers::shape),
        "gives the shape, which is followed where it sets shapes",
    ),
    group(
        "",
        "Size",
        Rule(numbers::size),
        "gives the number of elements, which is followed where it sets shapes",
    ),
    group(
        "",
        "Constant",
        Rule(numbers::constant_node),
        "does not depend on the rows",
    ),
    group(
        "",
        "Range",
        Rule(range),
        "counts between numbers, which must not depend on the number of rows",
    ),
    group(
        "",
        "BlackmanWindow HammingWindow HannWindow MelWeightMatrix",
        Rule(range),
        "depends on its size alone, which must not depend on the number of rows",
    ),
    group(
        "",
        "If",
        Branches,
        "its condition must not depend on the rows; both branches are followed",
    ),
    group(
        "",
        "Loop",
        Loop,
        "its body is followed; how often it runs must not depend on the rows",
    ),
    group(
        "",
        "Scan",
        Scan,
        "its body is followed; it must not go along the batch axis",
    ),
    group(
        "",
        "DynamicQuantizeLinear",
        Mixes,
        "takes one scale from the smallest and largest element of all rows",
    ),
    group(
        "",
        "NonZero",
        Mixes,
        "lists the places of all rows together, so their number depends on every row",
    ),
    group("", "Unique", Mixes, "compares the elements of all rows"),
    group(
        "",
        "NonMaxSuppression",
        Mixes,
        "lists the boxes of all rows together, so their number depends on every row",
    ),
    group(
        "",
        "StringSplit",
        Mixes,
        "pads to the longest text of all rows",
    ),
    group(
        "",
        "StringNormalizer",
        Rule(index::texts),
        "changes each text by itself; if it drops words, its length depends on every row",
    ),
    group(
        "",
        "EyeLike",
        Mixes,
        "gives each place in the batch another value",
    ),
    group(
        "",
        "SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss",
        Mixes,
        "averages over the batch unless it is told otherwise",
    ),
    group(
        "",
        "MaxUnpool",
        Mixes,
        "uses indices that count from the start of the batch",
    ),
    group(
        "",
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform \
         RandomUniformLike",
        Random,
        "gives other values at each run",
    ),
    group(
        "",
        "Attention",
        Rule(attention::attention),
        "works within each row of [N, …]; a mask may be the same for all rows",
    ),
    group(
        "",
        "RotaryEmbedding",
        Rule(attention::rotary),
        "rotates each element of [N, …] by its position",
    ),
    group(
        "",
        "DeformConv",
        Rule(attention::deform),
        "works within each row of [N, C, …]; weights must be constants",
    ),
    group(
        "",
        "AffineGrid",
        Rule(attention::affine_grid),
        "makes a grid for each row",
    ),
    group(
        "",
        "CenterCropPad",
        Rule(attention::center),
        "cuts and pads axes that it names; the batch axis must not be one of them",
    ),
    group(
        "",
        "Col2Im",
        Rule(window::window),
        "adds up blocks within each row of [N, C, L]",
    ),
    group(
        "",
        "BitCast DFT ImageDecoder MaxRoiPool RoiAlign ScatterND STFT TensorScatter",
        Uncovered,
        "is not followed",
    ),
    group(
        "",
        "SequenceAt SequenceConstruct SequenceEmpty SequenceErase \
         SequenceInsert SequenceLength SequenceMap SplitToSequence \
         ConcatFromSequence Optional OptionalGetElement OptionalHasElement",
        Uncovered,
        "sequences and optional values are not followed",
    ),
    group(
        TRAINING,
        "Adagrad Adam Gradient Momentum",
        Mixes,
        "belongs to training",
    ),
    group(
        ML,
        "Binarizer CategoryMapper LabelEncoder",
        Rule(like_first),
        "maps each element by itself",
    ),
    group(
        ML,
        "Scaler Imputer Normalizer",
        Rule(window::features),
        "works within each row of [N, features]; on a vector with the whole batch as one row",
    ),
    group(
        ML,
        "LinearClassifier LinearRegressor SVMClassifier SVMRegressor TreeEnsemble \
         TreeEnsembleClassifier TreeEnsembleRegressor",
        Rule(window::by_feature),
        "predicts for each row of [N, features]; on a vector with the whole batch as one row",
    ),
    group(
        ML,
        "FeatureVectorizer",
        Rule(window::feature_vector),
        "joins the features of each row",
    ),
    group(
        ML,
        "ArrayFeatureExtractor",
        Rule(window::extract),
        "selects along the last axis, which must not be the batch axis",
    ),
    group(
        ML,
        "OneHotEncoder",
        Rule(window::encode),
        "adds an axis of zeros and a one",
    ),
    group(
        ML,
        "CastMap DictVectorizer ZipMap",
        Uncovered,
        "maps are not followed",
    ),
    group(
        MICROSOFT,
        "FastGelu BiasGelu BiasAdd",
        Rule(elementwise),
        "computes each element from elements at the same place",
    ),
    group(
        MICROSOFT,
        "Gelu QuickGelu QLinearSigmoid QLinearLeakyRelu",
        Rule(like_first),
        "computes each element from the same element; scales must be constants",
    ),
    group(
        MICROSOFT,
        "QLinearAdd QLinearMul",
        Rule(window::quantized_pair),
        "computes each element from elements at the same place; scales must be constants",
    ),
    group(
        MICROSOFT,
        "QuantizeLinear DequantizeLinear",
        Rule(window::quantize),
        "scales each element; scales must be constants that do not vary along the batch axis",
    ),
    group(
        MICROSOFT,
        "FusedMatMul",
        Rule(matrix::matmul),
        "sums along one axis, which must not be the batch axis",
    ),
    group(
        MICROSOFT,
        "FusedGemm",
        Rule(matrix::gemm),
        "sums along one axis, which must not be the batch axis",
    ),
    group(
        MICROSOFT,
        "FusedConv QLinearAveragePool QLinearGlobalAveragePool",
        Rule(window::window),
        "works within each row of [N, C, …]; weights and scales must be constants",
    ),
    group(
        MICROSOFT,
        "Trilu",
        Rule(reduce::last_two),
        "treats the last two axes as matrices; the batch axis must not be one of them",
    ),
    group(
        MICROSOFT,
        "DynamicQuantizeMatMul DynamicQuantizeLSTM",
        Mixes,
        "takes one scale from the smallest and largest element of all rows",
    ),
    group(
        MICROSOFT,
        "Unique",
        Mixes,
        "compares the elements of all rows",
    ),
    group(
        MICROSOFT,
        "Tokenizer WordConvEmbedding",
        Mixes,
        "pads to the longest text of all rows",
    ),
    group(
        MICROSOFT,
        "Attention BiasDropout DecoderAttention EmbedLayerNormalization FusedMatMulActivation \
         GroupQueryAttention MatMulNBits MatMulIntegerToFloat MultiHeadAttention PackedAttention \
         QAttention QEmbedLayerNormalization QGemm QLinearConcat QLinearSoftmax \
         RotaryEmbedding SkipLayerNormalization SkipSimplifiedLayerNormalization \
         MoE QMoE BeamSearch GreedySearch Sampling NhwcMaxPool",
        Uncovered,
        "is not followed",
    ),
];
