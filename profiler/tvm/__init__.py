"""TVM: its compiler in a process of its own, the asking side, tuning."""
