"""Split computing: the head of a network on a board, its tail on another device, a link between them.

link        how fast bytes cross
cuts        where a network can be cut, and which tensors cross there
halves      a cut as two graphs of their own
sides       which devices and runtimes head and tail run on
prices      what a half costs on its device: measured, predicted or simulated, each said
table       every cut with its total, and the best of them
splitting   all of it for one question; the halves of the best cuts measured where a side is this machine
picture     latency by cut
"""
