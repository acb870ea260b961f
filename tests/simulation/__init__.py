"""A seeded simulation: the real engine between a source and a destination in memory.

Everything that could happen in any order happens in an order drawn from the seed, and
time is virtual, so a seed that fails fails again, switch by switch.
"""
