"""What a model is worth and whether it still is: the card beside each model, and the device against it.

model_card, training_data, card_file, card_pictures   the card: made at training, kept sealed, drawn
model_folder                                          models where they lie, without loading their trees
staleness                                             what can be compared without measuring or opening a database
anchors, prequential, model_check                     what takes measurements: anchors again, newer rows, the verdict
"""
