/**
 * What is left of a key or SKU where capitals and blanks do not count, as many carts take them. Indexed for items and for
 * listings, so the expression stands here once.
 */
export const alike = (column: string) => `lower(regexp_replace(btrim(${column}), '\\s+', ' ', 'g'))`;
