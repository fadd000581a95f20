"""How a student becomes an artefact: export, parity, bundles, engines."""
