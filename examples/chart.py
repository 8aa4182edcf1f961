"""A data frame and a chart; `cloche run examples/chart.py --out results` brings the PNG back."""

import pandas as pd
from matplotlib import pyplot as plt

frame = pd.DataFrame({"year": range(2020, 2027), "runs": [3, 8, 21, 55, 144, 377, 987]})
frame.plot(x="year", y="runs", kind="bar", title="Runs a year")
plt.savefig("runs.png")
print(frame.describe().round(1))
