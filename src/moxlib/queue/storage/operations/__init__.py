"""Storage operations: plain functions on a transaction, with all of the queue's SQL.

`insert` takes submissions in; `workers` keeps leases; `claim` and `settle` are the two ends of an attempt; `look`
reads; `operate` is what operators do; `destination` moves turns; `rows` turns rows into data and back; `where` turns
filters into SQL.
"""
