//! The models of the scenarios, M0 to M6 and a conv net of the size of ResNet-50,
//! written here from fixed seeds. Weights are random: only their cost means anything.

pub(crate) mod conv;
mod format;
pub(crate) mod graph;
pub(crate) mod ragged;
pub(crate) mod rows;
mod small;
mod transformer;

use crate::Result;
use crate::floors::raw::{self, Runtime};
use crate::schedule::Random;
use graph::Graph;
use rows::ModelRows;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One model: how it is written, and the shape of one row of its input.
pub(crate) struct Recipe {
    pub name: &'static str,
    pub title: &'static str,
    build: fn(&mut Graph),
    width: &'static [i64],
    /// Rows that are kept with their answers.
    samples: usize,
    /// Sizes of the first axis of a row that are kept with their answers, where any will do.
    lengths: &'static [i64],
}

/// All models, by name.
pub(crate) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "m0",
        title: "identity, 16 floats",
        build: |g| small::identity(g, &[16]),
        width: &[16],
        samples: 16,
        lengths: &[],
    },
    Recipe {
        name: "m1",
        title: "logistic regression, 32 features",
        build: small::logistic,
        width: &[32],
        samples: 16,
        lengths: &[],
    },
    Recipe {
        name: "m2",
        title: "200 trees of depth 6, 30 features",
        build: small::trees,
        width: &[30],
        samples: 16,
        lengths: &[],
    },
    Recipe {
        name: "m3",
        title: "MLP 256-512-512-10",
        build: small::mlp,
        width: &[256],
        samples: 16,
        lengths: &[],
    },
    Recipe {
        name: "m4",
        title: "conv net, 3x64x64",
        build: conv::small,
        width: &[3, 64, 64],
        samples: 4,
        lengths: &[],
    },
    Recipe {
        name: "m5",
        title: "transformer, 4 layers, 128 wide, 24 tokens",
        build: transformer::small,
        width: &[24, 128],
        samples: 8,
        lengths: &[1, 2, 3, 5, 8, 12, 16, 24, 33, 48, 64, 100],
    },
    Recipe {
        name: "m6",
        title: "identity, 3x224x224",
        build: |g| small::identity(g, &[3, 224, 224]),
        width: &[3, 224, 224],
        samples: 2,
        lengths: &[],
    },
    Recipe {
        name: "conv50",
        title: "conv net of the size of ResNet-50, 3x224x224",
        build: conv::resnet50,
        width: &[3, 224, 224],
        samples: 2,
        lengths: &[],
    },
    Recipe {
        name: "text90",
        title: "transformer of 92 MB, 13 layers, 384 wide, 32 tokens",
        build: transformer::large,
        width: &[32, 384],
        samples: 2,
        lengths: &[],
    },
    Recipe {
        name: "wide",
        title: "identity of any width",
        build: |g| small::identity(g, &[-1]),
        width: &[16],
        samples: 1,
        lengths: &[],
    },
];

/// Older than any time for which a server waits until files have settled.
const SETTLED: Duration = Duration::from_secs(3600);

/// The recipe of a name.
pub(crate) fn recipe(name: &str) -> Result<&'static Recipe> {
    let names = || {
        RECIPES
            .iter()
            .map(|r| r.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = RECIPES.iter().find(|r| r.name == name);
    found.ok_or_else(|| format!("there is no model {name:?}; there are {}", names()).into())
}

/// Arguments of the command that writes models.
#[derive(clap::Args)]
pub(crate) struct Write {
    /// The model directory to write.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Models to write [default: all].
    #[arg(value_name = "MODEL")]
    pub names: Vec<String>,
    /// The ONNX Runtime library [default: $ORT_DYLIB_PATH].
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
}

/// Writes models with rows and their answers, and a sample and a golden answer.
pub(crate) fn write(asked: &Write) -> Result<()> {
    let runtime = Runtime::load(asked.library.as_deref())?;
    let all = || RECIPES.iter().collect();
    let named = asked.names.iter().map(|name| recipe(name));
    let recipes: Vec<&Recipe> = match asked.names.is_empty() {
        true => all(),
        false => named.collect::<Result<_>>()?,
    };
    for recipe in recipes {
        write_one(recipe, &asked.folder.join(recipe.name), &runtime)
            .map_err(|e| format!("{}: {e}", recipe.name))?;
        println!("{}: {}", recipe.name, recipe.title);
    }
    Ok(())
}

fn write_one(recipe: &Recipe, folder: &Path, runtime: &Runtime) -> Result<()> {
    let seed = recipe
        .name
        .bytes()
        .fold(20_261_126, |seed, b| seed * 31 + u64::from(b));
    let mut graph = Graph::new(seed);
    (recipe.build)(&mut graph);
    std::fs::create_dir_all(folder.join("1"))?;
    let file = folder.join("1").join("model.onnx");
    std::fs::write(&file, graph.encode())?;

    let mut session = runtime.open(&file, 1)?;
    let mut random = Random::new(seed);
    let count: i64 = recipe.width.iter().product();
    let mut rows = ModelRows::new(recipe.width);
    for _ in 0..recipe.samples {
        let x: Vec<f32> = (0..count).map(|_| value(&mut random)).collect();
        let (shape, y) = raw::answer(&mut session, recipe.width, &x)?;
        rows.push(x, &shape[1..], y);
    }
    rows.write(folder, recipe.name)?;
    ragged::write(recipe.lengths, recipe.width, folder, &mut session)?;
    let settled = SystemTime::now() - SETTLED;
    std::fs::File::options()
        .write(true)
        .open(&file)?
        .set_modified(settled)?;
    Ok(())
}

/// A value of six digits, so that its text is the value.
fn value(random: &mut Random) -> f32 {
    ((random.uniform() * 999_999.0).floor() as f32 + 0.5) / 1e6
}
