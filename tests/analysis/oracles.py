"""The golden numbers in golden.json, as the libraries of the field compute them on the committed daily closes.

They need numpy, pandas and `pip install quantstats==0.0.86 empyrical-reloaded==0.7.1 ffn==1.4.1 skfolio==1.12.2`, in
an environment of their own: `PATH/TO/python tests/analysis/oracles.py` writes the file again. Only figures on which a
library is right are taken: complete data, simple returns, a base before the first loss.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
CLOSES = HERE.parents[1] / "athena/simulator/data/daily_close_2019-12_2020-06.csv"
HELD = {"AAPL": 3000.0, "JPM": -2000.0, "XOM": 4000.0, "MSFT": 1000.0}


def main() -> None:
    import empyrical
    import ffn
    import quantstats.stats as qs
    import skfolio.measures as measures
    from scipy.stats import chi2
    from sklearn.covariance import LedoitWolf

    prices = pd.read_csv(CLOSES, index_col="date", parse_dates=True)
    returns = prices.pct_change().dropna()
    aapl, jpm = prices["AAPL"], prices["JPM"]
    profit = (returns[list(HELD)] * pd.Series(HELD)).sum(axis=1)
    standard = (returns - returns.mean()) / returns.std(ddof=0)
    shrunk = LedoitWolf(assume_centered=True).fit(standard)
    table = ffn.drawdown_details(ffn.to_drawdown_series(jpm))
    deepest = table.sort_values("drawdown").iloc[0]
    golden = {
        "max_drawdown_aapl_quantstats": float(qs.max_drawdown(aapl)),
        "max_drawdown_jpm_empyrical": float(empyrical.max_drawdown(jpm.pct_change().dropna())),
        "max_drawdown_jpm_ffn": float(ffn.calc_max_drawdown(jpm)),
        "max_drawdown_xom_skfolio": float(
            -measures.max_drawdown(measures.get_drawdowns(returns["XOM"].to_numpy(), compounded=True))
        ),
        "drawdowns_jpm_ffn": len(table),
        "deepest_start_jpm_ffn": str(pd.Timestamp(deepest["Start"]).date()),
        "beta_aapl_jpm_empyrical": float(empyrical.beta(returns["AAPL"], returns["JPM"])),
        "var_95_empyrical": float(-empyrical.value_at_risk(profit, 0.05)),
        "es_975_skfolio": float(measures.cvar(profit.to_numpy(), beta=0.975)),
        "pearson_numpy": np.corrcoef(returns.to_numpy().T)[0, 1:4].tolist(),
        "ledoit_wolf_shrinkage_sklearn": float(shrunk.shrinkage_),
        "ledoit_wolf_sklearn": (shrunk.covariance_[0, 1:4] / shrunk.covariance_[0, 0]).tolist(),
        "chi2_sf_of_3": float(chi2.sf(3.0, 1)),
    }
    (HERE / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")
    print(json.dumps(golden, indent=2))


if __name__ == "__main__":
    main()
