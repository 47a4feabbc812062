"""What board this is, recordings of boards, and what can be said of one before anything is measured on it.

board                   a board's identity as data
identity                which board this is: jetson, raspberry_pi and the others
reading                 a short file as text
throttling              what tells that the clock was taken down
known_bad               versions of runtimes that fail on some boards, with sources
report                  what `doctor` says of a board
recording, record       a board as a document that a test can unpack; writing one without what is private
"""
