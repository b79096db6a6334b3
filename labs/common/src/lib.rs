//! What the services of several chapters share and no lesson is about.
