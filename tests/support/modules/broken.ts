/** A module that fails to load. */
throw new Error("it is broken")
