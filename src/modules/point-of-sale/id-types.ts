/** How other programs name an item. HotWax writes the same type `Shopify_Prod_ID` in its API and `shopifyProductId` in files. */
export const idTypes = ['sku', 'barcode', 'shopify'] as const;
export type IdType = (typeof idTypes)[number];

const names: Readonly<Record<string, IdType>> = {
  sku: 'sku',
  upc: 'barcode',
  upca: 'barcode',
  ean: 'barcode',
  ean13: 'barcode',
  gtin: 'barcode',
  barcode: 'barcode',
  shopify: 'shopify',
  shopifyprodid: 'shopify',
  shopifyproductid: 'shopify',
};

/** @returns null where nobody knows such a type */
export const idTypeOf = (name: string): IdType | null => names[name.toLowerCase().replace(/[\s_-]/g, '')] ?? null;

/**
 * A code of digits as others may write it: numbers lose their leading zeros in spreadsheets and tills, and a UPC is an
 * EAN with a zero before it. The code itself comes first.
 */
export function barcodeSpellings(code: string): string[] {
  if (!/^\d{5,14}$/.test(code)) return [code];
  const bare = code.replace(/^0+/, '');
  return [...new Set([code, bare, ...[8, 12, 13, 14].map((length) => bare.padStart(length, '0'))])];
}
