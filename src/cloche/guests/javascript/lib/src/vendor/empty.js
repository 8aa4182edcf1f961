// Takes the place of a package that only serves engines without these features.
export {};
