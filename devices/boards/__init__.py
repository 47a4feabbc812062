"""What board this is, recordings of boards, and what can be said of one before anything is measured on it.

recording   a board as a document that a test can unpack: files, links and answers of programs
"""
