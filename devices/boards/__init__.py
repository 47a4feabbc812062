"""What board this is, recordings of boards, and what can be said of one before anything is measured on it.

board                   a board's identity as data
identity                which board this is: jetson, raspberry_pi and the others
reading                 a short file as text
known_bad               versions of runtimes that fail on some boards, with sources
wheels                  which wheels of runtimes pip would take
report, report_lines    what `doctor` says of a board, as data and as text
recording, record       a board as a document that a test can unpack; writing one without what is private
"""
