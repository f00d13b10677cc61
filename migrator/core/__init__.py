"""The words of the house: values, ports, configuration, key templates, errors. Nothing here does I/O."""
