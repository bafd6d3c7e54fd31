"""An environment's exact packages: resolved once, hashed, and checked for freshness ever after."""
