"""Physics helpers: what analyses share, as functions of tables and arrays that work in tasks and notebooks alike.

Combinations and event mixing (`pairs`, `combinations`, `binning`), grouping, selections, propagation to the vertex,
particle identification, centrality, flow, V0s. Each module states the O2 file that it follows.
"""
