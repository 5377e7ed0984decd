"""What a dataset lacks, made from what it has (sections 3.2, 3.3 and 4.1).

Text of entities from boards, logs and pictures, vectors of images and graphs, pairs from logs.
"""
