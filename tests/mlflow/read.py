"""Reads runs with MLflow's own client and prints them as JSON: `read.py URI EXPERIMENT`."""

import json
import os
import sys

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from mlflow.tracking import MlflowClient

client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
print(
    json.dumps(
        [
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": run.data.tags,
                "seconds": (run.info.end_time - run.info.start_time) / 1e3,
            }
            for run in runs
        ]
    )
)
