//! The tables of `train.toml`: each setting once, with its meaning, default and
//! range.

use super::Text;
use ortus::config::form::{Line, Size};
use ortus::{choice, section};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

section! {
    /// `[model]`: what is trained.
    Model {
        /// The model's name in the registry; required.
        name: String as Line = String::new();
        /// The model card: one line about what it is for.
        about: Option<String> as Line = None;
        /// The licence of the model, an SPDX expression.
        licence: Option<String> as Line = None;
    }
}

section! {
    /// `[data]`: which rows it learns from.
    Data {
        /// The query; default `SELECT * FROM` the only source.
        sql: Option<String> as Text = None;
        /// Rows beyond which the query is refused, 1 to 100 million; default 20 million.
        rows_max: usize = 20_000_000, in 1..=100_000_000;
        /// Memory that the query may take, 16 MiB to 1 TiB; default 4 GiB. What sorts need beyond it goes to disk.
        memory_max: usize as Size = 4 << 30, in 16 << 20..=1 << 40;
        /// Bytes of a bucket that are copied, 1 MiB to 1 PiB; default 64 GiB.
        staged_max: usize as Size = 64 << 30, in 1 << 20..=1 << 50;
        /// Rows below which training is refused, 2 to 100 million; default 100.
        rows_min: usize = 100, in 2..=100_000_000;
        /// How old the newest row may be, where there is a time column; default any age.
        age_max: Option<Duration> = None;
        /// The share of rows without a label that is left out silently; default 0.5. More are refused.
        unlabelled_max: f64 = 0.5, in 0.0..=1.0;
        /// The share of rows that are there twice; default 0.2. More are refused.
        duplicates_max: f64 = 0.2, in 0.0..=1.0;
        /// How well a single column may tell the target, 0.5 to 1 as the area under its curve; default 0.999. A better one
        /// is taken for a leak and refused.
        leak_max: f64 = 0.999, in 0.5..=1.0;
    }
}

section! {
    /// `[data.joins.NAME]`: what was known of a row at its time, from the source of that name.
    Join {
        /// Columns that are equal; required.
        on: Vec<String> as Line = Vec::new();
        /// The source's column that says when a row of it came to be known; required.
        time: String as Line = String::new();
        /// How long after that it counts as known, at most 1000 d; default at once.
        lag: Duration = Duration::ZERO, in Duration::ZERO..=1_000 * DAY;
        /// How old it may be; default any age.
        within: Option<Duration> = None;
    }
}

choice! {
    /// What is learned.
    Task {
        /// Follows from the target: words, truth values and few whole numbers are classes.
        Auto = "auto",
        /// The class of a row.
        Classification = "classification",
        /// A value.
        Regression = "regression",
    }
}

section! {
    /// `[schema]`: what the columns are.
    Schema {
        /// The column to predict; required.
        target: String as Line = String::new();
        /// What is learned; default `auto`.
        task: Task = Task::Auto;
        /// The columns to predict from, in the model's order; default all others.
        features: Vec<String> as Line = Vec::new();
        /// Columns to leave out.
        ignore: Vec<String> as Line = Vec::new();
        /// Columns of whole numbers that are categories.
        categories: Vec<String> as Line = Vec::new();
        /// The column that says when a row was; rows are then split by time.
        time: Option<String> as Line = None;
        /// The column whose equal values stay together.
        group: Option<String> as Line = None;
        /// The column of weights.
        weight: Option<String> as Line = None;
        /// The classes in order; default sorted. Of two the last is the positive one.
        classes: Vec<String> as Line = Vec::new();
    }
}

choice! {
    /// How rows are split.
    SplitBy {
        /// By time where there is such a column, else by group, else at random.
        Auto = "auto",
        /// What was last is tested on.
        Time = "time",
        /// Groups stay together.
        Group = "group",
        /// At random.
        Random = "random",
    }
}

section! {
    /// `[split]`: which rows are learned from, and which it is judged by.
    Split {
        /// How; default `auto`.
        by: SplitBy = SplitBy::Auto;
        /// The share of rows to judge by, 0.01 to 0.5; default 0.2.
        test: f64 = 0.2, in 0.01..=0.5;
        /// The share of the other rows to stop by, 0.01 to 0.5; default 0.15.
        stop: f64 = 0.15, in 0.01..=0.5;
        /// Time between those learned from and those judged by, at most 1000 d; default none.
        embargo: Duration = Duration::ZERO, in Duration::ZERO..=1_000 * DAY;
        /// Origins that the last rows are judged from, one after another, 1 to 20; default 1. The last one's model is published.
        folds: usize = 1, in 1..=20;
        /// Why rows that have a time are split at random all the same; recorded.
        override_reason: Option<String> as Line = None;
    }
}

choice! {
    /// What learns.
    Algorithm {
        /// Gradient-boosted trees.
        Trees = "trees",
        /// Linear or logistic regression.
        Linear = "linear",
        /// A multilayer perceptron.
        Mlp = "mlp",
        /// A program of your own.
        Command = "command",
    }
}

section! {
    /// `[fit]`: how it learns.
    Fit {
        /// The algorithm; default `trees`.
        algorithm: Algorithm = Algorithm::Trees;
        /// What chance depends on; default 7.
        seed: u32 = 7;
        /// Threads, at most 1024; default 0, one per core.
        threads: usize = 0, in 0..=1024;
        /// Whether rows of rare classes weigh more, so that every class weighs the same; default false.
        balanced: bool = false;
    }
}

section! {
    /// `[fit.trees]`.
    Trees {
        /// Rounds at most, 1 to 100000; default 1000.
        rounds_max: usize = 1_000, in 1..=100_000;
        /// Rounds without a lower loss on the rows to stop by, 1 to 10000; default 50.
        patience: usize = 50, in 1..=10_000;
        /// How much of each tree is taken, 0.0001 to 1; default 0.05.
        learning_rate: f64 = 0.05, in 0.0001..=1.0;
        /// Leaves of a tree, 2 to 4096; default 31.
        leaves_max: usize = 31, in 2..=4_096;
        /// Branches one behind another, 1 to 64; default 64.
        depth_max: usize = 64, in 1..=64;
        /// Rows of a leaf, at least 1; default 20.
        leaf_rows_min: usize = 20, in 1..=1_000_000;
        /// Shrinks leaves, 0 to 1e6; default 0.
        l2: f64 = 0.0, in 0.0..=1e6;
    }
}

section! {
    /// `[fit.linear]`.
    Linear {
        /// Shrinks weights of columns brought to one scale, 0 to 1e6; default 1. scikit-learn's `alpha`, and 1/`C`.
        l2: f64 = 1.0, in 0.0..=1e6;
    }
}

section! {
    /// `[fit.mlp]`.
    Mlp {
        /// Rectifiers of each of two hidden layers, 1 to 4096; default 64.
        hidden: usize = 64, in 1..=4_096;
        /// How far a step goes, 0.000001 to 1; default 0.001.
        rate: f64 = 0.001, in 0.000_001..=1.0;
        /// How much weights shrink with each step, as a share of it, 0 to 1; default 0.0001.
        decay: f64 = 0.0001, in 0.0..=1.0;
        /// Times that all rows are seen, 1 to 10000; default 200.
        epochs_max: usize = 200, in 1..=10_000;
        /// … without a lower loss on the rows to stop by, 1 to 1000; default 10.
        patience: usize = 10, in 1..=1_000;
    }
}

choice! {
    /// What the rows are handed to a program as.
    Handed {
        /// Parquet.
        Parquet = "parquet",
        /// CSV with a header.
        Csv = "csv",
    }
}

section! {
    /// `[fit.command]`: a program that learns, and what it may take.
    Program {
        /// The program and its arguments. Those that are files beside train.toml are found there, and count in the run's key.
        program: Vec<String> as Line = Vec::new();
        /// Further files and folders beside train.toml that the result depends on, such as a list of packages.
        files: Vec<String> as Line = Vec::new();
        /// Variables of the environment that it is given beside `PATH` and `LANG`.
        env: Vec<String> as Line = Vec::new();
        /// What the rows are handed over as; default `parquet`.
        rows: Handed = Handed::Parquet;
        /// How long it may take, 1 s to 30 d; default 1 h.
        deadline: Duration = Duration::from_secs(3_600), in Duration::from_secs(1)..=30 * DAY;
        /// Address space of each of its processes, 64 MiB to 16 TiB; default 16 GiB.
        memory_max: usize as Size = 16 << 30, in 64 << 20..=16 << 40;
        /// Bytes of each file that it writes, and of all that it hands back, 1 MiB to 1 TiB; default 4 GiB.
        output_max: usize as Size = 4 << 30, in 1 << 20..=1 << 40;
        /// How often it is tried where it ends with 75, "try again", 1 to 100; default 3.
        attempts: usize = 3, in 1..=100;
        /// How far what it predicted may be from what its model answers, as a share, 0 to 1; default 0.0001.
        parity_max: f64 = 0.0001, in 0.0..=1.0;
    }
}

section! {
    /// `[gates]`: what a model must show before it is published. A gate that nothing is said of is reported, and passes nothing.
    Gates {
        /// The measure that gates look at; default `log_loss` of classes, `mae` of values.
        measure: Option<String> as Line = None;
        /// The worst that the measure's bound may be; default not gated.
        bound: Option<f64> = None;
        /// How much worse than the champion it may be on the same rows, as a share of the champion's; default 0.02.
        regression_max: f64 = 0.02, in -1.0..=10.0;
        /// The certainty of bounds, 0.5 to 0.9999; default 0.95.
        confidence: f64 = 0.95, in 0.5..=0.9999;
        /// Input columns by whose parts it must not be worse than the champion either; at most 8.
        slices: Vec<String> as Line = Vec::new();
        /// How much worse in one part, as a share; default 0.1.
        slice_regression_max: f64 = 0.1, in 0.0..=10.0;
        /// The calibration error of a classifier's scores, 0 to 1; default not gated.
        calibration_max: Option<f64> = None;
        /// What a model without a champion must do: `pass` the others, or be `refused`; default `pass`.
        first: First = First::Pass;
    }
}

choice! {
    /// What becomes of the first model of its name.
    First {
        /// The other gates decide.
        Pass = "pass",
        /// It is published by a person.
        Refused = "refused",
    }
}

choice! {
    /// What becomes of times that nobody watched at.
    Missed {
        /// One run for all of them.
        Once = "once",
        /// They are skipped.
        Skip = "skip",
    }
}

section! {
    /// `[triggers]`: when `ortus-trainer watch` runs. What is not said starts nothing.
    Triggers {
        /// Times, as cron has them, in UTC: minute, hour, day, month, weekday.
        cron: Option<String> as Line = None;
        /// What becomes of times that nobody watched at; default `once`.
        missed: Missed = Missed::Once;
        /// Rows that are new since the last run, 1 to 100 million; default none, which starts nothing.
        new_rows: Option<usize> = None;
        /// An alarm that the data or the answers drift; default false.
        drift: bool = false;
        /// An alarm that the champion loses more than it did, by labels; default false.
        loss: bool = false;
        /// A change of this file; default false.
        spec: bool = false;
        /// Time after a run in which nothing but a person starts another, at most 1000 d; default 1 h.
        cooldown: Duration = Duration::from_secs(3_600), in Duration::ZERO..=1_000 * DAY;
        /// Runs within 24 h, 1 to 10000; default 24. A person's count, and are never refused.
        runs_max: usize = 24, in 1..=10_000;
        /// Time that runs may take within 24 h, 1 s to 24 h; default 24 h.
        time_max: Duration = DAY, in Duration::from_secs(1)..=DAY;
        /// How often it is looked, 100 ms to 1 d; default 30 s.
        poll: Duration = Duration::from_secs(30), in Duration::from_millis(100)..=DAY;
        /// How long another trainer that is silent is waited for, 1 s to 1 d; default 60 s.
        lease: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=DAY;
    }
}

choice! {
    /// How settings to try are found.
    Method {
        /// All combinations.
        Grid = "grid",
        /// At random.
        Random = "random",
    }
}

section! {
    /// `[sweep]`: what `ortus-trainer sweep` tries; the settings are in [sweep.values].
    Sweep {
        /// How; default `grid`.
        method: Method = Method::Grid;
        /// How many are tried at most, 1 to 10000; default 50.
        runs_max: usize = 50, in 1..=10_000;
        /// How long it may take, 1 s to 30 d; default 1 h.
        time_max: Duration = Duration::from_secs(3_600), in Duration::from_secs(1)..=30 * DAY;
        /// What chance depends on; default 7.
        seed: u32 = 7;
    }
}

choice! {
    /// What is published.
    Policy {
        /// A version that nothing points at.
        Manual = "manual",
        /// … that the alias `challenger` points at.
        Challenger = "challenger",
        /// … that the alias `canary` points at, with a share of the champion's traffic; where there is no champion, the champion.
        Canary = "canary",
        /// The new champion.
        Champion = "champion",
    }
}

section! {
    /// `[publish]`: what becomes of a model that passes.
    Publish {
        /// Where the alias goes; default `challenger`.
        policy: Policy = Policy::Challenger;
        /// The percentage of traffic that a canary gets, 1 to 50; default 5.
        canary_percent: u32 = 5, in 1..=50;
        /// Whether it may take or answer otherwise than the champion, whose clients would break; default false.
        allow_signature_change: bool = false;
    }
}
