// TypeScript: types are stripped, lines and columns stay.
interface Item {
  name: string;
  price: number;
  tags?: readonly string[];
}

enum Currency { EUR = "€", USD = "$" }

class Inventory<T extends Item> {
  constructor(private readonly items: T[]) {}

  total(currency: Currency = Currency.EUR): string {
    const sum = this.items.reduce((all: number, item: T): number => all + item.price, 0);
    return `${sum.toFixed(2)} ${currency}`;
  }
}

const inventory = new Inventory<Item>([
  { name: "bell jar", price: 19.9, tags: ["glass"] },
  { name: "bell", price: 7.25 },
]);
console.log(inventory.total(), inventory);
