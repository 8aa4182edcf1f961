"""A data frame, a chart, and a tool of the host."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

rng = np.random.default_rng(0)
frame = pd.DataFrame({"day": range(1, 31), "visits": rng.poisson(200, 30)})
print(frame.describe().round(1))

frame.plot(x="day", y="visits", title="Visits")
plt.savefig("visits.png")
print("words:", tools.word_count(text="every effect passes one gate"))
