//! The tables of `train.toml`: each setting with its meaning, default and range.

use super::MultilineText;
use super::objective::{Monotone, MonotoneTable, QuantileLevel, TweediePower};
use ortus::core::settings::form::{Size, TextLine};
use ortus::{choice, section};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

section! {
    /// `[model]`: the model to train.
    Model {
        /// The model's name in the registry; required.
        name: String as TextLine = String::new();
        /// One line for the model card: what the model is for.
        about: Option<String> as TextLine = None;
        /// The licence of the model, an SPDX expression.
        licence: Option<String> as TextLine = None;
    }
}

section! {
    /// `[data]`: the rows to train on.
    Data {
        /// The SQL query over the sources; default `SELECT * FROM` the only source.
        sql: Option<String> as MultilineText = None;
        /// The most rows that the query may return, 1 to 100 million; default 20 million.
        rows_max: usize = 20_000_000, in 1..=100_000_000;
        /// Memory that the query may take, 16 MiB to 1 TiB; default 4 GiB. Larger sorts use the disk.
        memory_max: usize as Size = 4 << 30, in 16 << 20..=1 << 40;
        /// Memory that the columns may take while they are read, 0 to 1 TiB; default 4 GiB. What exceeds it is kept in
        /// files of the temporary folder.
        columns_memory_max: usize as Size = 4 << 30, in 0..=1 << 40;
        /// The most bytes copied from object storage, 1 MiB to 1 PiB; default 64 GiB.
        staged_max: usize as Size = 64 << 30, in 1 << 20..=1 << 50;
        /// The fewest rows to train on, 2 to 100 million; default 100.
        rows_min: usize = 100, in 2..=100_000_000;
        /// The greatest age of the newest row, if there is a time column; default any age.
        age_max: Option<Duration> = None;
        /// The largest share of rows without a target, which are left out; default 0.5. The run fails above it.
        unlabelled_max: f64 = 0.5, in 0.0..=1.0;
        /// The largest share of rows without a time, if there is a time column; they are left out; default 0.05. The run fails above it.
        untimed_max: f64 = 0.05, in 0.0..=1.0;
        /// The largest share of duplicate rows; default 0.2. The run fails above it.
        duplicates_max: f64 = 0.2, in 0.0..=1.0;
        /// The highest ROC AUC of a single column against the target, 0.5 to 1; default 0.999. A column above it
        /// counts as a leak of the target, and the run fails.
        leak_max: f64 = 0.999, in 0.5..=1.0;
    }
}

section! {
    /// `[data.joins.NAME]`: a point-in-time join with the source of that name.
    Join {
        /// The columns to join on; required.
        on: Vec<String> as TextLine = Vec::new();
        /// The source's column with the time at which a row became known; required.
        time: String as TextLine = String::new();
        /// The delay after that time until the row can be used, at most 1000 d; default 0.
        lag: Duration = Duration::ZERO, in Duration::ZERO..=1_000 * DAY;
        /// The greatest age of a joined row; default any age.
        within: Option<Duration> = None;
    }
}

choice! {
    /// The task of the model.
    Task {
        /// From the target: text, booleans and few distinct integers are classes.
        Auto = "auto",
        /// Predict a class.
        Classification = "classification",
        /// Predict a number.
        Regression = "regression",
    }
}

section! {
    /// `[schema]`: the roles of the columns.
    Schema {
        /// The column to predict; required.
        target: String as TextLine = String::new();
        /// The task; default `auto`.
        task: Task = Task::Auto;
        /// The feature columns, in the order of the model's inputs; default all other columns.
        features: Vec<String> as TextLine = Vec::new();
        /// Columns to leave out.
        ignore: Vec<String> as TextLine = Vec::new();
        /// Integer columns that are categories.
        categories: Vec<String> as TextLine = Vec::new();
        /// The column with the time of a row; rows are then split by time.
        time: Option<String> as TextLine = None;
        /// The column with the group of a row; rows of a group stay in one part of the split.
        group: Option<String> as TextLine = None;
        /// The column with the weight of a row.
        weight: Option<String> as TextLine = None;
        /// The classes in order; default sorted. Of two classes the last is the positive one.
        classes: Vec<String> as TextLine = Vec::new();
    }
}

choice! {
    /// How rows are split.
    SplitBy {
        /// By time if there is a time column, else by group, else at random.
        Auto = "auto",
        /// The latest rows are the test rows.
        Time = "time",
        /// Groups stay together.
        Group = "group",
        /// At random.
        Random = "random",
    }
}

section! {
    /// `[split]`: the training, early-stopping and test rows.
    Split {
        /// The kind of split; default `auto`.
        by: SplitBy = SplitBy::Auto;
        /// The share of test rows, 0.01 to 0.5; default 0.2.
        test: f64 = 0.2, in 0.01..=0.5;
        /// The share of the other rows used for early stopping, 0.01 to 0.5; default 0.15.
        stop: f64 = 0.15, in 0.01..=0.5;
        /// The time gap between training and test rows, at most 1000 d; default 0.
        embargo: Duration = Duration::ZERO, in Duration::ZERO..=1_000 * DAY;
        /// The number of rolling origins of the evaluation, 1 to 20; default 1. The model of the last one is published.
        folds: usize = 1, in 1..=20;
        /// The reason for a random split of rows that have a time; kept in the record.
        override_reason: Option<String> as TextLine = None;
    }
}

choice! {
    /// The training algorithm.
    Algorithm {
        /// Gradient-boosted trees.
        Trees = "trees",
        /// Linear or logistic regression.
        Linear = "linear",
        /// A multilayer perceptron.
        Mlp = "mlp",
        /// Your own program.
        Command = "command",
    }
}

choice! {
    /// What a fit minimises.
    Objective {
        /// The log loss for classes, `squared` for numbers.
        Auto = "auto",
        /// The squared error.
        Squared = "squared",
        /// The Poisson deviance, for counts.
        Poisson = "poisson",
        /// The Tweedie deviance, for amounts of which many are 0.
        Tweedie = "tweedie",
        /// The pinball loss of a quantile.
        Quantile = "quantile",
        /// NDCG, for ranking the rows of a query.
        LambdaRank = "lambdarank",
    }
}

choice! {
    /// How the probabilities of two classes are calibrated.
    CalibrationMethod {
        /// They are not.
        None = "none",
        /// By a logistic function of the score.
        Platt = "platt",
        /// By a rising curve of the score.
        Isotonic = "isotonic",
    }
}

section! {
    /// `[fit]`: the training algorithm.
    Fit {
        /// The algorithm; default `trees`.
        algorithm: Algorithm = Algorithm::Trees;
        /// What the fit minimises; default `auto`: the log loss for classes, `squared` for numbers.
        objective: Objective = Objective::Auto;
        /// The variance power of `objective = "tweedie"`, above 1 (Poisson) and below 2 (gamma); default 1.5.
        tweedie_power: Option<f64> as TweediePower = None;
        /// The quantile of `objective = "quantile"`, above 0 and below 1; default 0.5, the median.
        quantile: Option<f64> as QuantileLevel = None;
        /// The first places of a ranking whose pairs are learned from, with `objective = "lambdarank"`, 1 to 10000; default 30.
        ndcg_truncation: Option<usize> = None, in Some(1)..=Some(10_000);
        /// Features in which predictions never fall (`"increasing"`) or never rise (`"decreasing"`), by name; trees only.
        monotone: Monotone as MonotoneTable = Monotone::default();
        /// How the probabilities of two classes are calibrated, on the early-stopping rows; default `none`.
        calibration: CalibrationMethod = CalibrationMethod::None;
        /// The seed of random numbers; default 7.
        seed: u32 = 7;
        /// The number of threads, at most 1024; default 0, which means one per core.
        threads: usize = 0, in 0..=1024;
        /// Whether rows are weighted so that all classes have the same total weight; default false.
        balanced: bool = false;
    }
}

section! {
    /// `[fit.trees]`: gradient-boosted trees.
    Trees {
        /// The most boosting rounds, 1 to 100000; default 1000.
        rounds_max: usize = 1_000, in 1..=100_000;
        /// Rounds without a lower early-stopping loss before training ends, 1 to 10000; default 50.
        patience: usize = 50, in 1..=10_000;
        /// The learning rate (shrinkage of each tree), 0.0001 to 1; default 0.05.
        learning_rate: f64 = 0.05, in 0.0001..=1.0;
        /// The most leaves of a tree, 2 to 4096; default 31.
        leaves_max: usize = 31, in 2..=4_096;
        /// The greatest depth of a tree, 1 to 64; default 64.
        depth_max: usize = 64, in 1..=64;
        /// The fewest rows of a leaf, at least 1; default 5.
        leaf_rows_min: usize = 5, in 1..=1_000_000;
        /// L2 regularisation of leaf values: how much is added to the sum of second derivatives of a leaf, one for each row of a
        /// squared error; less for many classes, by 4 / K · (1 − 1 / K); 0 to 1e6; default 10.
        l2: f64 = 10.0, in 0.0..=1e6;
    }
}

section! {
    /// `[fit.linear]`: linear or logistic regression.
    Linear {
        /// L2 regularisation of the weights of standardised columns, 0 to 1e6; default 1. In scikit-learn `alpha`, or 1/`C`.
        l2: f64 = 1.0, in 0.0..=1e6;
    }
}

section! {
    /// `[fit.mlp]`: a multilayer perceptron.
    Mlp {
        /// ReLU units in each of the two hidden layers, 1 to 4096; default 64.
        hidden: usize = 64, in 1..=4_096;
        /// The learning rate, 0.000001 to 1; default 0.001.
        rate: f64 = 0.001, in 0.000_001..=1.0;
        /// The weight decay of each step, as a share of the learning rate, 0 to 1; default 0.0001.
        decay: f64 = 0.0001, in 0.0..=1.0;
        /// The most epochs, 1 to 10000; default 200.
        epochs_max: usize = 200, in 1..=10_000;
        /// Epochs without a lower early-stopping loss before training ends, 1 to 1000; default 10.
        patience: usize = 10, in 1..=1_000;
    }
}

choice! {
    /// The file format of the rows for a program.
    RowFormat {
        /// Parquet.
        Parquet = "parquet",
        /// CSV with a header.
        Csv = "csv",
    }
}

section! {
    /// `[fit.command]`: your own training program and its limits.
    Program {
        /// The program and its arguments. Files beside train.toml are found there and are part of the run key.
        program: Vec<String> as TextLine = Vec::new();
        /// Further files and folders beside train.toml that the result depends on, such as a list of packages.
        files: Vec<String> as TextLine = Vec::new();
        /// Environment variables passed to the program, in addition to `PATH` and `LANG`.
        env: Vec<String> as TextLine = Vec::new();
        /// The file format of the rows; default `parquet`.
        rows: RowFormat = RowFormat::Parquet;
        /// The longest time of the program, 1 s to 30 d; default 1 h.
        deadline: Duration = Duration::from_secs(3_600), in Duration::from_secs(1)..=30 * DAY;
        /// The most address space of each process, 64 MiB to 16 TiB; default 16 GiB.
        memory_max: usize as Size = 16 << 30, in 64 << 20..=16 << 40;
        /// The most bytes of each file that the program writes, and of all its results, 1 MiB to 1 TiB; default 4 GiB.
        output_max: usize as Size = 4 << 30, in 1 << 20..=1 << 40;
        /// The most attempts if the program exits with 75 ("try again"), 1 to 100; default 3.
        attempts: usize = 3, in 1..=100;
        /// The largest relative difference between the program's predictions and its ONNX model's, 0 to 1; default 0.0001.
        parity_max: f64 = 0.0001, in 0.0..=1.0;
    }
}

section! {
    /// `[gates]`: the conditions for publishing a model. A gate that is not set is reported and decides nothing.
    Gates {
        /// The metric of the gates; default `log_loss` for classification, `mae` for regression.
        measure: Option<String> as TextLine = None;
        /// The worst value of the metric's confidence bound; default not gated.
        bound: Option<f64> = None;
        /// Whether a model must be better than guessing: by the class shares, or by the mean or median; default true.
        baseline: bool = true;
        /// The largest relative regression against the champion on the same rows; default 0.02.
        regression_max: f64 = 0.02, in -1.0..=10.0;
        /// The confidence level of bounds, 0.5 to 0.9999; default 0.95.
        confidence: f64 = 0.95, in 0.5..=0.9999;
        /// Feature columns whose slices are compared with the champion too; at most 8.
        slices: Vec<String> as TextLine = Vec::new();
        /// The largest relative regression in one slice; default 0.1.
        slice_regression_max: f64 = 0.1, in 0.0..=10.0;
        /// The largest calibration error of a classifier, 0 to 1; default not gated.
        calibration_max: Option<f64> = None;
        /// What happens without a champion: `pass` publishes if the other gates pass, `champion` also makes the version champion, `refused` never publishes; default `pass`.
        first: First = First::Pass;
    }
}

choice! {
    /// What happens to the first model of its name.
    First {
        /// The other gates decide.
        Pass = "pass",
        /// The other gates decide, and it becomes champion.
        Champion = "champion",
        /// Only a person can publish it.
        Refused = "refused",
    }
}

choice! {
    /// What happens to cron times that were missed.
    Missed {
        /// One run for all missed times.
        Once = "once",
        /// They are skipped.
        Skip = "skip",
    }
}

section! {
    /// `[triggers]`: when `ortus-trainer watch` starts a run. A trigger that is not set starts nothing.
    Triggers {
        /// A cron pattern in UTC: minute, hour, day, month, weekday.
        cron: Option<String> as TextLine = None;
        /// What happens to cron times that were missed; default `once`.
        missed: Missed = Missed::Once;
        /// The number of new rows since the last run, 1 to 100 million; default none.
        new_rows: Option<usize> = None;
        /// A drift alarm of inputs or predictions; default false.
        drift: bool = false;
        /// An alarm that the champion's loss on labelled predictions rose; default false.
        loss: bool = false;
        /// The labelled rows of after an alarm that a run must learn from, at most 100 million; default 500. Rows that judge the model or stop its fit do not count.
        alarm_rows: usize = 500, in 0..=100_000_000;
        /// A change of train.toml; default false.
        spec: bool = false;
        /// The time after a run in which only a manual request starts another, at most 1000 d; default 1 h.
        cooldown: Duration = Duration::from_secs(3_600), in Duration::ZERO..=1_000 * DAY;
        /// The most runs within 24 h, 1 to 10000; default 24. Manual runs count, and are never refused.
        runs_max: usize = 24, in 1..=10_000;
        /// The most time of runs within 24 h, 1 s to 24 h; default 24 h.
        time_max: Duration = DAY, in Duration::from_secs(1)..=DAY;
        /// The interval of checks, 100 ms to 1 d; default 30 s.
        poll: Duration = Duration::from_secs(30), in Duration::from_millis(100)..=DAY;
        /// The time after which the lease of a silent trainer is taken over, 1 s to 1 d; default 60 s.
        lease: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=DAY;
    }
}

choice! {
    /// The search method of a sweep.
    Method {
        /// All combinations.
        Grid = "grid",
        /// At random.
        Random = "random",
    }
}

section! {
    /// `[sweep]`: the search of `ortus-trainer sweep`; [sweep.values] lists the settings.
    Sweep {
        /// The search method; default `grid`.
        method: Method = Method::Grid;
        /// The most trials, 1 to 10000; default 50.
        runs_max: usize = 50, in 1..=10_000;
        /// The longest time of the sweep, 1 s to 30 d; default 1 h.
        time_max: Duration = Duration::from_secs(3_600), in Duration::from_secs(1)..=30 * DAY;
        /// The seed of random numbers; default 7.
        seed: u32 = 7;
    }
}

choice! {
    /// The alias of a published version.
    Policy {
        /// No alias.
        Manual = "manual",
        /// The alias `challenger`.
        Challenger = "challenger",
        /// The alias `canary` with a weight of the traffic; `champion` if there is no champion.
        Canary = "canary",
        /// The alias `champion`.
        Champion = "champion",
    }
}

choice! {
    /// What happens to a version of rows that look faulty beside those of the champion.
    SuspectRows {
        /// It becomes challenger, where the policy would give it traffic, and waits for a person.
        Hold = "hold",
        /// The policy decides.
        Accept = "accept",
    }
}

section! {
    /// `[publish]`: how a model that passes is published.
    Publish {
        /// Which alias the version gets; default `challenger`.
        policy: Policy = Policy::Challenger;
        /// What happens if the rows look faulty beside the champion's, as of another unit: `hold` makes the version challenger where it would be canary or champion, `accept` does not; default `hold`.
        suspect_rows: SuspectRows = SuspectRows::Hold;
        /// The weight of a canary in percent of the traffic, 1 to 50; default 5.
        canary_percent: u32 = 5, in 1..=50;
        /// Whether the signature may differ from the champion's, which can break clients; default false.
        allow_signature_change: bool = false;
        /// Whether the version has what a server needs to say how much each input contributed to a score, for trees and linear models; default true. It is left out where it would be over 16 MiB.
        explanations: bool = true;
    }
}
