"""Truth: does the model find true answers likelier than false ones, and does it give them?"""
