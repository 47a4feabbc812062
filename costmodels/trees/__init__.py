"""LightGBM's trees: trained on sums, and run without LightGBM where that pays, with the same bits.

boosting                     training
tree_text, tree_ensemble     its text read by ourselves, and as ONNX Runtime's ensemble
stored_trees                 which of them answers
"""
